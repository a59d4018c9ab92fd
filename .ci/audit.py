"""Check that no pin has a known vulnerability, and that none was withdrawn.

The advisories are those that come inside the package safety-db, which needs no service
and ends in July 2021. The index that pip uses says which versions were withdrawn.
"""

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

# an advisory of which the database is known to tell
CANARY = Requirement("requests==2.19.0")


def read_pins():
    """Return the pins of constraints.txt."""
    lines = Path("constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def read_advisories():
    """Return the ranges of vulnerable versions by name of package."""
    # safety_db itself opens a file that it does not bring
    file = distribution("safety-db").locate_file("safety_db/insecure.json")
    database = json.loads(Path(file).read_text())
    return {canonicalize_name(name): ranges for name, ranges in database.items()}


def advisories_of(pin, advisories):
    """Return the ranges of vulnerable versions that hold the version of a pin."""
    (specifier,) = pin.specifier
    return [
        text
        for text in advisories.get(canonicalize_name(pin.name), [])
        if SpecifierSet(text).contains(specifier.version, prereleases=True)
    ]


def withdrawn():
    """Return what uv says of pins that their authors have withdrawn."""
    command = ["uv", "pip", "compile", "--no-deps", "constraints.txt"]
    result = subprocess.run(
        [sys.executable, "-m", *command, "--python", sys.executable],
        capture_output=True,
        text=True,
    )
    if result.returncode:
        sys.exit(result.stderr)
    return [line for line in result.stderr.splitlines() if "is yanked" in line]


def main():
    """Exit with a line for each pin that has an advisory or was withdrawn."""
    advisories = read_advisories()
    if not advisories_of(CANARY, advisories):
        sys.exit(f"the database of advisories does not know of {CANARY}")
    pins = read_pins()
    found = [
        f"{pin} is vulnerable, as {text}"
        for pin in pins
        for text in advisories_of(pin, advisories)
    ]
    found += withdrawn()
    if found:
        sys.exit("\n".join(found))
    print(f"{len(pins)} pins: none withdrawn, none in the database of advisories")


if __name__ == "__main__":
    main()
