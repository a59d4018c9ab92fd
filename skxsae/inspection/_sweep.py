"""Means of several methods over one setting, as lines in panels."""

import pandas as pd

from skxsae.inspection._plotting import style_of


def check_measurements(frame, setting):
    """A row for each method, metric and value of the setting; errors may be missing."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"frame must be a DataFrame, got {type(frame).__name__}.")
    needed = ["method", setting, "metric", "mean"]
    missing = [name for name in needed if name not in frame]
    if missing:
        raise ValueError(
            f"frame has no column {missing[0]!r}: it needs {', '.join(needed)}, and "
            "may have standard_error."
        )
    table = frame[needed].reset_index(drop=True)
    twice = table.duplicated(["method", setting, "metric"])
    if twice.any():
        method, value, metric, _ = table[twice].iloc[0]
        raise ValueError(
            f"frame has more than one row for {metric!r} of {method!r} at "
            f"{setting}={value:g}: keep those of one experiment."
        )
    errors = frame.get("standard_error", pd.Series(0.0, index=frame.index))
    return table.assign(standard_error=errors.fillna(0.0).to_numpy())


def check_names(names, column, what):
    """The given names, all there, or every name in the order of the column."""
    there = list(dict.fromkeys(column))
    if names is None:
        return there
    names = [names] if isinstance(names, str) else list(names)
    absent = [name for name in names if name not in there]
    if absent or not names:
        raise ValueError(
            f"{what}={names!r} must be among those of the frame: "
            f"{', '.join(map(repr, there))}."
        )
    return names


def draw_sweep(ax, table, x, methods, line_kw=None):
    """A line with error bars for each method; `table` is of one metric."""
    lines = []
    for number, method in enumerate(methods):
        rows = table[table["method"] == method].sort_values(x)
        if len(rows):
            style = {**style_of(number), "label": method, "markersize": 5}
            style |= {"capsize": 2, "elinewidth": 1, **(line_kw or {})}
            values = rows[[x, "mean", "standard_error"]].to_numpy().T
            lines.append(ax.errorbar(*values, **style))
    return lines


def which_is_better(measure, lower_is_better):
    """Which way a measure is better, nothing if that is not known."""
    if lower_is_better is None:
        return ""
    return f"{'lower' if measure in lower_is_better else 'higher'} is better"


def check_lower(lower_is_better, measures):
    """Measures that are the better the lower, None if nothing is known."""
    if lower_is_better is None or not len(lower_is_better):
        return lower_is_better
    return check_names(lower_is_better, measures, "lower_is_better")


def add_legend(axes, own_figure, names, n_columns=3):
    """One legend for all panels: under them, or in the first of axes that are given."""
    handles, labels = axes[0].get_legend_handles_labels()
    of_label = dict(zip(labels, handles, strict=True))
    labels = [name for name in names if name in of_label]
    handles = [of_label[name] for name in labels]
    if handles and own_figure:
        options = {"loc": "outside lower center", "ncols": min(n_columns, len(labels))}
        axes[0].figure.legend(handles, labels, frameon=False, **options)
    elif handles:
        axes[0].legend(handles, labels, frameon=False)
