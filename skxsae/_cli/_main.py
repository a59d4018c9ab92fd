"""The main job: load pairs, fit the methods, show and write what came out."""

import os
import sys
import textwrap
import warnings
from datetime import UTC, datetime

from skxsae._cli._arguments import parse_arguments
from skxsae._cli._concepts import best_concepts, concept_lines
from skxsae._cli._data import load_pairs
from skxsae._cli._evaluate import chance_recalls, evaluate
from skxsae._cli._figure import can_plot, save_figure
from skxsae._cli._methods import (
    CONTROLS,
    SHARED,
    Fitter,
    resolve_settings,
    torch_threads,
    warm_up,
)
from skxsae._cli._output import (
    REPORT,
    new_folder,
    versions,
    write_models,
    write_report,
)
from skxsae._cli._progress import Progress
from skxsae._cli._table import caption_lines, main_table, recovery_table

_INTERRUPTED = 130
_BROKEN_PIPE = 141  # as the shell says of a program that the closed pipe ended


def main(argv=None):
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments without the name of the program. None means those of the process.

    Returns
    -------
    status : int
        0 if all went well, 130 after Ctrl-C, 141 if what reads the output, such as
        ``head``, closed it; a wrong argument exits with 2.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_unread_output()
        return _BROKEN_PIPE


def _discard_unread_output():
    """Lead closed streams to nowhere: Python flushes them once more when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _main(argv):
    """Run the command line, whose output may be closed at any time."""
    arguments, parser = parse_arguments(argv)
    try:
        try:
            pairs = load_pairs(arguments)
            methods, skipped = _applicable(arguments.methods, pairs)
            settings = resolve_settings(arguments, pairs)
        except (ValueError, OSError) as error:
            parser.error(str(error))
        _run(arguments, pairs, methods, skipped, settings)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted: nothing was written to {arguments.out}.", file=sys.stderr
        )
        return _INTERRUPTED
    return 0


def _applicable(names, pairs):
    """Methods that these views allow, and why the others are left out, in one line."""
    if pairs.same_width:
        return names, None
    left_out = [name for name in names if name in (*SHARED, *CONTROLS)]
    kept = [name for name in names if name not in left_out]
    reason = (
        f"Left out, as the widths differ ({pairs.X.shape[1]} and "
        f"{pairs.y.shape[1]}): {', '.join(left_out)}."
    )
    if not kept:
        raise ValueError(
            f"--methods {' '.join(names)}: these need views of one width, but --x has "
            f"{pairs.X.shape[1]} features and --y {pairs.y.shape[1]}; choose "
            "separate, post_hoc or soft, which take any"
        )
    return kept, reason if left_out else None


def _run(arguments, pairs, methods, skipped, settings):
    """Fit, write the folder, then print."""
    for line in _header(pairs, settings):
        print(textwrap.fill(line, 100), flush=True)
    with (
        torch_threads(settings.n_threads),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always", UserWarning)
        fitter, rows, models = _fit_all(methods, pairs, settings)
    sae = fitter.aligned[0] if "post_hoc" in methods else None
    concepts = best_concepts(sae, pairs) if sae else []
    chance = chance_recalls(pairs)
    warned = dict.fromkeys(str(warning.message) for warning in caught)
    notes = [*pairs.notes, *warned]
    if not can_plot():
        notes.append(
            "No figure, as matplotlib is not installed: pip install 'skxsae[plot]'."
        )
    report = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "data": _data_section(arguments, pairs),
        "parameters": _parameters(settings, models),
        "table": rows,
        "chance": chance,
        "left_out": skipped,
        "concepts": concepts,
        "notes": notes,
    }
    with new_folder(arguments.out) as folder:
        report["models"] = write_models(folder, models)
        report["figure"] = None
        if can_plot():
            report["figure"] = "figure.png"
            save_figure(folder / report["figure"], rows, chance, sae, pairs)
        write_report(folder, report)
    _show(report, pairs, arguments.out, sae is not None)


def _header(pairs, settings):
    """What is about to be done."""
    n_train, n_test = len(pairs.train), len(pairs.test)
    yield pairs.description
    yield (
        f"{n_train} training and {n_test} held-out pairs, {pairs.x_name} "
        f"{pairs.X.shape[1]} and {pairs.y_name} {pairs.y.shape[1]} features"
    )
    yield (
        f"{settings.n_latents} latents per view ({2 * settings.n_latents} if shared), "
        f"k {settings.k}, seed {settings.seed}"
    )


def _fit_all(methods, pairs, settings):
    """Rows of the table and models to save, with what fitted them."""
    progress = Progress(len(methods))
    fitter = Fitter(pairs, settings, progress)
    warm_up(settings.device)
    rows, models = [], dict[str, object]()
    for name in methods:
        progress.begin(name)
        fit = fitter.fit(name)
        is_aligned = name in ("post_hoc", "soft")
        as_trained = fitter.separate_saes[:2] if is_aligned else None
        rows.append(evaluate(name, fit, pairs, as_trained))
        models |= fit.models
        progress.end()
    return fitter, rows, models


def _data_section(arguments, pairs):
    """Where the pairs come from and how many there are."""
    groups = pairs.groups
    names = ("x", "y", "groups", "test", "texts")
    return {
        "description": pairs.description,
        "arguments": {name: getattr(arguments, name) for name in names},
        "x_shape": list(pairs.X.shape),
        "y_shape": list(pairs.y.shape),
        "x_dtype": str(pairs.X.dtype),
        "y_dtype": str(pairs.y.dtype),
        "n_train_pairs": len(pairs.train),
        "n_test_pairs": len(pairs.test),
        "n_train_groups": len(set(groups[pairs.train].tolist())),
        "n_test_groups": len(set(groups[pairs.test].tolist())),
    }


def _parameters(settings, models):
    """Settings, and the simple parameters of each model."""
    simple = (int, float, str, bool, type(None))
    of_models = {
        name: {
            parameter: value
            for parameter, value in model.get_params().items()
            if isinstance(value, simple)
        }
        for name, model in models.items()
    }
    return {
        "n_latents_per_view": settings.n_latents,
        "k": settings.k,
        "max_iter": settings.max_iter,
        "seed": settings.seed,
        "device": settings.device,
        "models": of_models,
    }


def _show(report, pairs, out, has_concepts):
    """Print the table, the concepts and where the files are."""
    rows = report["table"]
    print()
    print(main_table(rows, report["chance"], pairs.x_name, pairs.y_name))
    if report["left_out"]:
        print(textwrap.fill(report["left_out"], 100))
    print()
    print("\n".join(caption_lines(rows, pairs)))
    if any("feature_recovery_error" in row for row in rows):
        print("\nErrors against the known concepts, 0 is best:\n")
        print(recovery_table(rows))
    if has_concepts:
        print()
        print("\n".join(concept_lines(report["concepts"], pairs)))
    print()
    for note in report["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    files = [REPORT, *([report["figure"]] if report["figure"] else [])]
    print(
        textwrap.fill(
            f"Wrote {out}{os.sep}: {', '.join(files + report['models'])}", 100
        )
    )
