"""Check by the report of pip that what it installed has the hashes of the lock."""

import json
import re
import sys
from pathlib import Path

LOCKS = ("requirements-lock.txt", ".ci/cpu-lock.txt")


def locked_hashes():
    """Return the hashes by name of package, of all locks."""
    hashes = {}
    for lock in LOCKS:
        for line in Path(lock).read_text().splitlines():
            if "==" in line and not line.startswith("#"):
                current = hashes.setdefault(normalized(line.partition("==")[0]), set())
            current_hash = re.search(r"--hash=sha256:(\w+)", line)
            if current_hash:
                current.add(current_hash[1])
    return hashes


def normalized(name):
    """Return the name of a package as an index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def complaint(item, hashes):
    """Return what is wrong with an installed item, or None."""
    name = normalized(item["metadata"]["name"])
    archive = item["download_info"].get("archive_info")
    if archive is None:  # a folder: the project itself
        return None if name == "skxsae" else f"{name} was installed from a folder"
    if name not in hashes:
        return f"{name} is not in the lock"
    if archive["hashes"]["sha256"] not in hashes[name]:
        return f"{name}: its hash is not in the lock"
    return None


def main(report):
    """Exit with a message for each package that is not what the lock says."""
    installed = json.loads(Path(report).read_text())["install"]
    hashes = locked_hashes()
    found = [text for item in installed if (text := complaint(item, hashes))]
    if found:
        sys.exit("\n".join(found))
    print(f"{len(installed)} packages installed, each with a hash of the lock")


if __name__ == "__main__":
    main(*sys.argv[1:])
