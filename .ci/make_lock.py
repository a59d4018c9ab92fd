"""Make requirements-lock.txt: constraints.txt with the hashes of all files of each pin.

Run it with a Python that has uv: `pip install -c constraints.txt uv`.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = """\
# Made from constraints.txt by .ci/make_lock.py, not by hand: the same pins, with the
# hashes of all files that the index has of each.
"""


def main():
    """Write the lock, or exit with what uv has to say of a pin."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "constraints.txt"]
    options = ["--no-deps", "--generate-hashes", "--no-header", "--no-annotate"]
    result = subprocess.run(
        [*command, *options, "--python", sys.executable],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    # a pin that its authors have withdrawn is a warning
    if result.returncode or "warning:" in result.stderr:
        sys.exit(result.stderr)
    (ROOT / "requirements-lock.txt").write_text(HEADER + result.stdout)


if __name__ == "__main__":
    main()
