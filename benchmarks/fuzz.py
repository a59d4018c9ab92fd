"""Damaged and hostile files for every loader: a result or a clear error, nothing else.

Each case writes files, damages them, and loads them in a child process with a limit on
its memory and its time. A pickle that makes a folder, and an audit hook, say whether
anything was executed. A case is known by its loader and its number, and can be run
again: ``python benchmarks/fuzz.py --loaders npy --case 17``.
"""

import argparse
import contextlib
import faulthandler
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from _common import report, stamp, status_mib, stopwatch
from _fuzzing import LOADERS
from _fuzzing.mutations import damage_files

_MEMORY = 512  # MiB beyond what the process has at the start
_CPU_SECONDS = 10
_WALL_SECONDS = 120
_WRITING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.rmtree")
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
    "subprocess.Popen", "pickle.find_class", "socket.connect", "ctypes.dlopen",
)  # fmt: skip


def main(argv=None):
    """Run the program."""
    args = _parse(argv)
    if args.case is not None:
        for name in args.loaders:
            outcome, text = run_case(name, args.seed, args.case, args.out / "case")
            print(f"{name}, case {args.case}: {outcome}\n{text}")
        return None
    where = stamp()  # before the cases: the code that was loaded
    with stopwatch() as seconds:
        counts, failures = fuzz(args.loaders, args.seed, args.minutes, args.out)
    rows = [
        {"loader": name, "outcome": outcome, "cases": number}
        for name, of_loader in counts.items()
        for outcome, number in sorted(of_loader.items())
    ]
    tables = {"Cases by loader and outcome": _table(counts)}
    n_cases = sum(row["cases"] for row in rows)
    figures = (
        f"{n_cases} cases, {len(failures)} failures, {seconds['seconds'] / 60:.0f} min"
    )
    report(args, "fuzz", "hostile files", figures, tables, [*rows, seconds], [where])
    return failures


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="for all loaders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loaders", nargs="+", choices=LOADERS, default=list(LOADERS))
    parser.add_argument("--case", type=int, help="run this case alone, in this process")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--results", type=Path, help="file to append the line to")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def _table(counts):
    """Outcomes in columns."""
    import pandas as pd

    return pd.DataFrame(counts).T.fillna(0).astype(int)


def fuzz(loaders, seed, minutes, out):
    """Outcomes of cases of all loaders in turn, and those that failed."""
    end = time.monotonic() + 60 * minutes
    counts = {name: Counter() for name in loaders}
    next_case = dict.fromkeys(loaders, 0)
    failures = []
    while time.monotonic() < end:
        for name in loaders:
            share = min(10.0, max(0.2, (end - time.monotonic()) / len(loaders)))
            start = next_case[name]
            for case, outcome, text in _cases(name, seed, start, share, out):
                counts[name][outcome] += 1
                next_case[name] = case + 1
                if outcome not in ("loaded", "refused"):
                    failures.append(f"{name}, case {case}: {outcome}: {text[-2000:]}")
                    print(failures[-1], flush=True)
    return counts, failures


def _cases(name, seed, start, seconds, out):
    """Number, outcome and text of cases that a child process goes through."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (name, seed, start, seconds, out, sender)
    child = context.Process(target=_run_cases, args=arguments)
    child.start()
    sender.close()
    case = start
    try:
        while receiver.poll(_WALL_SECONDS):
            received = receiver.recv()
            if received is None:
                return
            yield (case, *received)
            case += 1
        yield case, "hang", f"no end within {_WALL_SECONDS} s"
    except EOFError:
        child.join()
        yield case, "crash", f"exit code {child.exitcode}"
    finally:
        child.kill()
        child.join()


def _run_cases(name, seed, start, seconds, out, sender):
    """Run cases until the time is over, with limits on this process."""
    import torch

    torch.set_num_threads(1)
    faulthandler.enable()
    end = time.monotonic() + seconds
    case = start
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=out) as folder:
        _load_valid(name, Path(folder))  # what is imported late is imported now
        limit_memory(_MEMORY)
        events = watch_audit()
        while time.monotonic() < end:
            outcome = run_case(name, seed, case, Path(folder) / "case", events)
            if outcome[0] not in ("loaded", "refused"):
                kept = out / "failures" / f"{name} {case}".replace(", ", "_")
                shutil.copytree(
                    Path(folder) / "case", kept, symlinks=True, dirs_exist_ok=True
                )
            sender.send(outcome)
            case += 1
    sender.send(None)


def _load_valid(name, folder):
    """Write and load files that are as they should be."""
    folder = folder / "valid"
    folder.mkdir()
    rng = np.random.default_rng(0)
    LOADERS[name].write(folder, rng)
    with contextlib.suppress(ValueError):
        LOADERS[name].load(folder, rng)


def limit_memory(mib):
    """Let this process have so much more private memory than it has."""
    limit = int((status_mib("VmData:") + mib) * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def watch_audit():
    """A list that gets the audit events that no loader may cause.

    Its `folder` is where files may be written, None while nothing is watched.
    """

    class Events(list):
        folder = None

    events = Events()

    def hook(event, arguments):
        if events.folder is None:
            return
        is_write = event in _WRITING or (event == "open" and _is_write(*arguments))
        inside = str(arguments[0] if arguments else "").startswith(str(events.folder))
        if event in _FORBIDDEN or (is_write and not inside):
            events.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(hook)
    return events


def _is_write(path, mode, flags):
    """Whether a file is opened to be changed."""
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def run_case(name, seed, case, folder, events=None):
    """What comes of one case, and an error or a traceback.

    "loaded" and "refused" are as they should be; all else is a defect.
    """
    loader = LOADERS[name]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), case])
    shutil.rmtree(folder, ignore_errors=True)
    inside, canary = folder / "in" / "here", folder / "canary"
    inside.mkdir(parents=True)
    _write_case(loader, rng, inside, canary)
    before = _tree(folder, inside)
    started = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        # of Python's parser, which NumPy reads headers with
        warnings.filterwarnings("ignore", "invalid escape sequence")
        outcome, text = _load(loader, inside, rng, events)
    seconds = time.process_time() - started
    if events:
        outcome, text = "executed", "; ".join(events)
        events.clear()
    elif canary.exists() or _tree(folder, inside) != before:
        outcome, text = "escaped", str(sorted(_tree(folder, inside) - before))
    elif outcome in ("loaded", "refused") and (leaks := _leaks(warned, loader)):
        outcome, text = "warned", leaks
    elif seconds > _CPU_SECONDS:
        outcome, text = "slow", f"{seconds:.0f} s"
    return outcome, text


def _write_case(loader, rng, folder, canary):
    """Files for one case: valid ones that are damaged, hostile ones, or both."""
    kind = rng.random()
    if loader.hostile is not None and kind < 0.4:
        loader.hostile(folder, rng, canary)
    else:
        loader.write(folder, rng)
    if 0.3 < kind < 0.98:
        damage_files(folder, rng, _other_files(rng))


def _other_files(rng):
    """A valid file of some other loader."""
    names = list(LOADERS)
    other = LOADERS[names[rng.integers(len(names))]]
    with tempfile.TemporaryDirectory() as folder:
        other.write(Path(folder), rng)
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        return [path.read_bytes() for path in paths]


def _leaks(warned, loader):
    """Warnings that no loader should let through."""
    leaks = [f"{each.filename}: {each.message}" for each in warned]
    return "; ".join(
        leak for leak in leaks if not any(part in leak for part in loader.warns)
    )


def _tree(folder, inside):
    """What is in a folder but not under `inside`, which loaders may write to."""
    return {path for path in folder.rglob("*") if inside not in path.parents}


def _load(loader, folder, rng, events):
    """Outcome and text of loading, whatever is raised."""
    if events is not None:
        events.folder = folder
    try:
        result = loader.load(folder, rng)
        loader.check(result)
    except loader.allowed as error:
        # a subclass is another error, unless it is named itself
        known = type(error) in loader.allowed or isinstance(error, OSError)
        if known and loader.says in str(error):
            return "refused", f"{type(error).__name__}: {error}"
        return "unclear", traceback.format_exc(limit=-3)
    except AssertionError:
        return "wrong", traceback.format_exc(limit=-3)
    except BaseException as error:
        return "raised", f"{type(error).__name__} {traceback.format_exc(limit=-4)}"
    finally:
        if events is not None:
            events.folder = None
    return "loaded", ""


if __name__ == "__main__":
    main()
