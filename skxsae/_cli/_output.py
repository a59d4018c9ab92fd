"""The folder that is written: whole, or not at all."""

import json
import os
import platform
import shutil
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from skxsae._saving import save
from skxsae._version import __version__

DEFAULT_OUT = "skxsae-out"
REPORT = "report.json"

_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pandas", "joblib")


def check_out(out, overwrite):
    """Raise a ValueError unless the folder may be written."""
    folder = Path(out).resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {out} is a file: give the name of a new folder")
    if folder == Path.cwd():
        raise ValueError(
            f"--out {out} is the working directory: give the name of a new folder"
        )
    if folder.is_dir() and any(folder.iterdir()):
        _check_replaceable(out, folder, overwrite)
    ancestor = next(parent for parent in folder.parents if parent.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise ValueError(
            f"--out {out} cannot be made, as {ancestor} is not a folder that you may "
            "write to: give another place"
        )


def _check_replaceable(out, folder, overwrite):
    """Raise a ValueError unless the files in a folder may go."""
    if not overwrite:
        raise ValueError(
            f"--out {out} exists and is not empty: give another folder with --out, or "
            "--overwrite to replace it"
        )
    if not (folder / REPORT).is_file():
        raise ValueError(
            f"--out {out} holds no {REPORT}, so it is not the folder of an earlier "
            "run, and --overwrite would delete something else: give another folder"
        )
    written = _files_of_run(folder)
    if written is None:
        raise ValueError(
            f"--out {out} holds a {REPORT} that this command did not write, and "
            "--overwrite would delete something else: give another folder"
        )
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in written or path.is_dir()
    )
    if foreign:
        raise ValueError(
            f"--out {out} holds {foreign[0]!r}, which is not of the earlier run, and "
            "--overwrite would delete it: move it away or give another folder"
        )


def _files_of_run(folder):
    """Names of the files that a run has written, by its report; None if not ours."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        version_of_run = report["versions"]["skxsae"]
        names = [REPORT, report["figure"] or REPORT, *report["models"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    are_texts = all(isinstance(name, str) for name in [version_of_run, *names])
    return set(names) if are_texts else None


@contextmanager
def new_folder(out):
    """Folder beside `out` that takes its place at the end, or vanishes on an error."""
    folder = Path(out).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, previous = (
        folder.with_name(f".{folder.name}-{part}-{os.getpid()}")
        for part in ("partial", "previous")
    )
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
    except BaseException:
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def write_models(folder, models):
    """One file for each model; returns their names."""
    names = []
    for name, model in models.items():
        names.append(f"{name}.safetensors")
        save(model, folder / names[-1])
    return names


def write_report(folder, report):
    """The report as JSON, for which NaN is None already."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")


def versions():
    """Versions of everything that the numbers depend on."""
    return {
        "skxsae": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }
