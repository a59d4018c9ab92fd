"""The picture of steering: what is found over how far embeddings are moved."""

import numpy as np
import pandas as pd

from skxsae.inspection._plotting import (
    LINE_STYLES,
    by_name,
    panel_axes,
    style_of,
    tidy,
)
from skxsae.inspection._sweep import add_legend, check_names


class SteeringDisplay:
    """Retrieval of a concept over the strength of steering towards it.

    A panel for each measure and a line for each method, as in figure 7 of the
    heterogeneity paper [1]_.

    Parameters
    ----------
    scores : SteeringResult, DataFrame or dict of them
        What :func:`skxsae.metrics.steering_scores` returned, or its ``to_frame()``: a
        row for each strength, a column for each measure. A dict has those of several
        methods by name.

    measures : list of str, default=("mAP", "MRR")
        Columns to show, in this order.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_measures,)
        Panels.

    figure_ : matplotlib Figure
        Figure that holds the panels.

    lines_ : list of list of matplotlib Line2D
        Lines of each panel.

    See Also
    --------
    skxsae.metrics.steering_scores : Computes them.

    Notes
    -----
    The axis of the strengths is linear up to the smallest that is not 0, and
    logarithmic beyond.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", figure 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.inspection import SteeringDisplay
    >>> from skxsae.metrics import steering_scores
    >>> result = steering_scores([0], np.eye(3), np.eye(3)[2:],
    ...     [[False], [False], [True]], strengths=[0, 1, 2], k=1)
    >>> display = SteeringDisplay(result, measures=["mAP"]).plot()
    >>> display.lines_[0][0].get_ydata()
    array([0.5, 1. , 1. ])
    """

    def __init__(self, scores, *, measures=("mAP", "MRR")):
        self.scores = scores
        self.measures = measures

    def plot(self, ax=None, *, line_kw=None):
        """Draw a panel for each measure.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            Axes to draw on, one for each measure. None makes a new figure.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``, such as ``{"linewidth": 2}``.

        Returns
        -------
        SteeringDisplay
            The display, with ``axes_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If scores are of another kind.

        ValueError
            If there is nothing to draw, or no column of the name of a measure.
        """
        tables = {
            name: _table(scores)
            for name, scores in by_name(self.scores, what="scores").items()
        }
        for table in tables.values():
            measures = check_names(self.measures, table.columns, "measures")
        self.axes_ = panel_axes(f"{type(self).__name__}.plot", ax, len(measures))
        self.figure_ = self.axes_[0].figure
        self.lines_ = [
            [
                panel.plot(
                    table.index,
                    table[measure],
                    **_style(number) | {"label": name or "_"} | (line_kw or {}),
                )[0]
                for number, (name, table) in enumerate(tables.items())
            ]
            for panel, measure in zip(self.axes_, measures, strict=True)
        ]
        strengths = np.unique(np.concatenate([t.index for t in tables.values()]))
        for panel, measure in zip(self.axes_, measures, strict=True):
            _annotate(panel, measure, strengths)
        add_legend(self.axes_, ax is None, list(tables))
        return self


def _table(scores):
    """A row for each strength, a column for each measure."""
    table = scores.to_frame() if hasattr(scores, "to_frame") else scores
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"scores must be what steering_scores returned, or a dict of that, got "
            f"{type(scores).__name__}."
        )
    return table


def _style(number):
    """Hollow markers and dashes, through which lines can be seen that lie below."""
    style = style_of(number) | {"markerfacecolor": "none", "markersize": 7}
    return style | {"linestyle": LINE_STYLES[number % len(LINE_STYLES)]}


def _annotate(ax, measure, strengths):
    """Set the axes of one panel, with a tick at each strength."""
    positive = np.abs(strengths[strengths != 0])
    if len(positive) and positive.max() > 5 * positive.min():
        ax.set_xscale("symlog", linthresh=positive.min())
    ax.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    ax.minorticks_off()
    ax.set(xlabel="Strength", ylabel=measure)
    ax.set_ylim(bottom=0)
    tidy(ax)
