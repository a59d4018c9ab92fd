"""Check what a wheel holds: the package, its data and licences, and not too large."""

import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

DATA = "skxsae/datasets/data/"
MOST_DATA_BYTES = 8.5e6
# of the code, of the list of emoji, of their names and keywords, of their pictures
LICENSE = "BSD-3-Clause AND MIT AND Unicode-3.0 AND Apache-2.0"
LICENSE_FILES = ["LICENSE", f"{DATA}LICENSES.txt"]


def main(wheel):
    """Exit with a message if something is missing, foreign or too large."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info.compress_size for info in archive.infolist()}
        metadata = [name for name in files if name.endswith(".dist-info/METADATA")]
        check_license(BytesParser().parsebytes(archive.read(*metadata)))
    expected = {
        path.as_posix()
        for pattern in ("*.py", "datasets/data/*", "inspection/page/*")
        for path in Path("skxsae").rglob(pattern)
        if path.is_file()
    }
    inside = {name for name in files if ".dist-info/" not in name}
    if inside != expected:
        sys.exit(
            f"missing from the wheel: {sorted(expected - inside)}; "
            f"not of the package: {sorted(inside - expected)}"
        )
    for name in ("entry_points.txt", *(f"licenses/{file}" for file in LICENSE_FILES)):
        if not any(file.endswith(f".dist-info/{name}") for file in files):
            sys.exit(f"the wheel has no {name}")
    n_bytes = sum(size for name, size in files.items() if name.startswith(DATA))
    if not 0 < n_bytes <= MOST_DATA_BYTES:
        sys.exit(f"{n_bytes} bytes of data, wanted 1 to {MOST_DATA_BYTES:.0f}")
    print(f"{len(inside)} files in the wheel, {n_bytes / 1e6:.1f} MB of data")


def check_license(metadata):
    """Exit with a message unless the metadata name the licences of code and data."""
    found = metadata["License-Expression"], sorted(metadata.get_all("License-File", []))
    if found != (LICENSE, sorted(LICENSE_FILES)):
        sys.exit(f"the wheel says {found} of its licences, not {LICENSE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
