"""Check what an sdist and a wheel hold: all that git has, and of data not too much."""

import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

DATA = "skxsae/datasets/data/"
MOST_DATA_BYTES = 8.5e6
# of the code, of the list of emoji, of their names and keywords, of their pictures
LICENSE = "BSD-3-Clause AND MIT AND Unicode-3.0 AND Apache-2.0"
LICENSE_FILES = ["LICENSE", f"{DATA}LICENSES.txt"]


def main(sdist, wheel):
    """Exit with a message if something is missing, foreign or too large."""
    check_sdist(sdist)
    check_wheel(wheel)


def tracked_files(*paths):
    """Return the files that git has, or would take, without those of the gate."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = {name for name in listing.split("\0") if name and Path(name).exists()}
    return {name for name in files if not name.startswith((".ci/", ".git"))}


def check_files(kind, inside, expected):
    """Exit with a message unless just the expected files are inside."""
    if inside != expected:
        sys.exit(
            f"missing from the {kind}: {sorted(expected - inside)}; "
            f"not of the project: {sorted(inside - expected)}"
        )
    print(f"{len(inside)} files in the {kind}")


def check_sdist(sdist):
    """Exit with a message unless the sdist holds the project, its tests and pages."""
    with tarfile.open(sdist) as archive:
        members = [member.name for member in archive if member.isfile()]
    files = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in members}
    inside = {str(file) for file in files if "skxsae.egg-info" not in file.parts}
    check_files("sdist", inside - {"PKG-INFO"}, tracked_files())


def check_wheel(wheel):
    """Exit with a message unless the wheel holds the package, its data and licences."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info.compress_size for info in archive.infolist()}
        metadata = [name for name in files if name.endswith(".dist-info/METADATA")]
        check_license(BytesParser().parsebytes(archive.read(*metadata)))
    inside = {name for name in files if ".dist-info/" not in name}
    check_files("wheel", inside, tracked_files("skxsae"))
    for name in ("entry_points.txt", *(f"licenses/{file}" for file in LICENSE_FILES)):
        if not any(file.endswith(f".dist-info/{name}") for file in files):
            sys.exit(f"the wheel has no {name}")
    n_bytes = sum(size for name, size in files.items() if name.startswith(DATA))
    if not 0 < n_bytes <= MOST_DATA_BYTES:
        sys.exit(f"{n_bytes} bytes of data, wanted 1 to {MOST_DATA_BYTES:.0f}")
    print(f"{n_bytes / 1e6:.1f} MB of data in the wheel")


def check_license(metadata):
    """Exit with a message unless the metadata name the licences of code and data."""
    found = metadata["License-Expression"], sorted(metadata.get_all("License-File", []))
    if found != (LICENSE, sorted(LICENSE_FILES)):
        sys.exit(f"the wheel says {found} of its licences, not {LICENSE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
