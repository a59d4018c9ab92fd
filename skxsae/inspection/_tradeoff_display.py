"""The picture of what alignment costs: it against reconstruction, over a weight."""

from fractions import Fraction
from itertools import cycle

import numpy as np

from skxsae.inspection._plotting import panel_axes, style_of, tidy
from skxsae.inspection._sweep import (
    add_legend,
    check_lower,
    check_measurements,
    check_names,
    draw_sweep,
    which_is_better,
)

_KINDS = ("plane", "panels")
_DASHES = ("--", ":", "-.")
# width and height of a number beside a point, in pixels
_ROOM = (22, 12)


class TradeoffDisplay:
    """Alignment against reconstruction over the weight of an alignment loss.

    A line for each method whose loss has a weight, from the smallest to the largest;
    one point for each method without. It has the measurements of figure 6 of the
    heterogeneity paper [1]_, and shows them as that figure does with ``kind="panels"``.

    Parameters
    ----------
    frame : DataFrame
        A row for each method, weight and measure, with the columns

        * "method" and "metric": names, which are shown as they are;
        * "multiplier": the weight, as a multiple of a default;
        * "mean": the measure, the mean over seeds;
        * "standard_error": its standard error, if known; NaN for one seed.

    reconstruction : str
        Measure of reconstruction.

    alignment : str or list of str
        Measure of alignment, or several for a panel each.

    methods : list of str, default=None
        Methods to show, in this order. None means all.

    lower_is_better : list of str, default=None
        Measures of which less is better; of all others more is. If given, labels say
        so. An empty list is right where more is better of all.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        Panels.

    figure_ : matplotlib Figure
        Figure that holds the panels.

    lines_ : list of list
        Lines of each panel, of the methods in their order: ErrorbarContainer, and in
        panels Line2D for a method without weight.

    See Also
    --------
    AlphaSweepDisplay : Measures over the distance of corresponding directions.
    skxsae.model_selection.select_alignment_weight : The largest weight that costs
        little.

    Notes
    -----
    A weight that would be written over another is left out.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", figure 6.

    Examples
    --------
    >>> import pandas as pd
    >>> from skxsae.inspection import TradeoffDisplay
    >>> frame = pd.DataFrame({"method": "iso_energy", "multiplier": [0.25, 1, 4] * 2,
    ...     "metric": ["recovery"] * 3 + ["alignment"] * 3,
    ...     "mean": [0.1, 0.2, 0.4, 0.9, 0.5, 0.1]})
    >>> display = TradeoffDisplay(
    ...     frame, reconstruction="recovery", alignment="alignment").plot()
    >>> [text.get_text() for text in display.axes_[0].texts]
    ['1/4', '1', '4']
    """

    def __init__(
        self, frame, *, reconstruction, alignment, methods=None, lower_is_better=None
    ):
        self.frame = frame
        self.reconstruction = reconstruction
        self.alignment = alignment
        self.methods = methods
        self.lower_is_better = lower_is_better

    def plot(self, ax=None, *, kind="plane", line_kw=None):
        """Draw the measurements.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            Axes to draw on, one for each panel. None makes a new figure.

        kind : {"plane", "panels"}, default="plane"
            Either a panel for each measure of alignment, over that of reconstruction,
            with the weight beside the points; or a panel for each measure, over the
            weight, with a dashed line for a method without weight.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.errorbar``, such as ``{"linewidth": 2}``.

        Returns
        -------
        TradeoffDisplay
            The display, with ``axes_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `frame` is no DataFrame.

        ValueError
            If a column is missing, a setting was measured twice, or a name is not in
            `frame`.
        """
        if kind not in _KINDS:
            raise ValueError(f"kind={kind!r} must be 'plane' or 'panels'.")
        table = check_measurements(self.frame, "multiplier")
        names = table["metric"]
        (cost,) = check_names([self.reconstruction], names, "reconstruction")
        measures = check_names(self.alignment, names, "alignment")
        methods = check_names(self.methods, table["method"], "methods")
        lower = check_lower(self.lower_is_better, names)
        panels = measures if kind == "plane" else [cost, *measures]
        self.axes_ = panel_axes(f"{type(self).__name__}.plot", ax, len(panels))
        self.figure_ = self.axes_[0].figure
        draw = _draw_plane if kind == "plane" else _draw_panel
        self.lines_ = [
            draw(panel, table, cost, measure, methods, line_kw)
            for panel, measure in zip(self.axes_, panels, strict=True)
        ]
        for panel, measure in zip(self.axes_, panels, strict=True):
            better = which_is_better(measure, lower)
            if kind == "plane":
                panel.set_xlabel(_with(cost, which_is_better(cost, lower)))
                panel.set_ylabel(_with(measure, better))
            else:
                panel.set_ylabel(better.capitalize())
        for panel in self.axes_:
            tidy(panel)
        add_legend(self.axes_, ax is None, methods)
        return self


def _with(measure, better):
    """Name of a measure and, under it, which way is better."""
    return f"{measure}\n({better})" if better else measure


def _draw_plane(ax, table, cost, measure, methods, line_kw):
    """One measure over another, a line along the weights of each method."""
    keys = ["method", "multiplier"]
    x, y = (table[table["metric"] == name] for name in (cost, measure))
    both = x.merge(y, on=keys, suffixes=("_x", "_y")).sort_values("multiplier")
    lines = []
    for number, method in enumerate(methods):
        rows = both[both["method"] == method]
        if not len(rows):
            continue
        style = {**style_of(number), "label": method, "capsize": 2, "elinewidth": 1}
        style |= {"markersize": 6 if len(rows) > 1 else 10}
        points = ("mean_x", "mean_y", "standard_error_y", "standard_error_x")
        values = rows[[*points]].to_numpy().T
        lines.append(ax.errorbar(*values, **style | (line_kw or {})))
    ax.margins(0.1)
    _write_weights(ax, both, methods)
    return lines


def _write_weights(ax, both, methods):
    """The multiple of the default weight beside each point, unless it would overlap."""
    taken = np.empty((0, 2))
    for number, method in enumerate(methods):
        rows = both[both["method"] == method]
        if len(rows) < 2:
            continue
        points = rows[["mean_x", "mean_y"]].to_numpy()
        for point, weight in zip(points, rows["multiplier"], strict=True):
            place = ax.transData.transform(point)
            if (np.abs(taken - place) < _ROOM).all(axis=1).any():
                continue
            taken = np.vstack([taken, place])
            ax.annotate(
                _as_multiple(weight),
                tuple(point),
                xytext=(5, 4),
                textcoords="offset points",
                color=style_of(number)["color"],
                fontsize="small",
            )


def _draw_panel(ax, table, cost, measure, methods, line_kw):
    """One measure over the weight, a dashed line for a method that has none."""
    table = table[table["metric"] == measure]
    n_weights = table.groupby("method")["multiplier"].size()
    swept = [method for method in methods if n_weights.get(method, 0) > 1]
    fixed = [method for method in methods if n_weights.get(method, 0) == 1]
    colors = {method: style_of(i)["color"] for i, method in enumerate(methods)}
    lines = {}
    for method in swept:
        (lines[method],) = draw_sweep(
            ax,
            table,
            "multiplier",
            [method],
            style_of(methods.index(method)) | (line_kw or {}),
        )
    for method, dashes in zip(fixed, cycle(_DASHES), strict=False):
        mean = table.loc[table["method"] == method, "mean"].item()
        options = {"color": colors[method], "linestyle": dashes, "label": method}
        lines[method] = ax.axhline(mean, **options)
    weights = sorted(set(table["multiplier"]))
    ax.set_xscale("log")
    ax.set_xticks(weights, [_as_multiple(weight) for weight in weights])
    ax.minorticks_off()
    ax.set(title=measure, xlabel="Weight of the alignment loss")
    return [lines[method] for method in methods if method in lines]


def _as_multiple(multiplier):
    """``4`` or ``1/4``."""
    fraction = Fraction(multiplier).limit_denominator(1000)
    if abs(float(fraction) - multiplier) > 1e-9 or fraction.numerator > 1:
        return f"{multiplier:g}"
    return str(fraction)
