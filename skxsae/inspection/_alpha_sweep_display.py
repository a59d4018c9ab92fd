"""The picture of what methods do as corresponding directions move apart."""

from skxsae.inspection._plotting import panel_axes, tidy
from skxsae.inspection._sweep import (
    add_legend,
    check_lower,
    check_measurements,
    check_names,
    draw_sweep,
    which_is_better,
)


class AlphaSweepDisplay:
    """Measures of several methods over the distance of corresponding directions.

    A panel for each measure and a line for each method, with one standard error. This
    is figure 5 of the heterogeneity paper [1]_, made from fits on
    :func:`~skxsae.datasets.make_paired_features` with several values of `alignment`.

    Parameters
    ----------
    frame : DataFrame
        A row for each method, alpha and measure, with the columns

        * "method" and "metric": names, which are shown as they are;
        * "alpha": cosine of corresponding directions of the two views;
        * "mean": the measure, the mean over seeds;
        * "standard_error": its standard error, if known; NaN for one seed.

    metrics : list of str, default=None
        Measures to show, in this order. None means all.

    methods : list of str, default=None
        Methods to show, in this order. None means all.

    lower_is_better : list of str, default=None
        Measures of which less is better; of all others more is. If given, labels say
        so. An empty list is right where more is better of all.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_metrics,)
        Panels.

    figure_ : matplotlib Figure
        Figure that holds the panels.

    lines_ : list of list of matplotlib ErrorbarContainer
        Lines of each panel.

    See Also
    --------
    TradeoffDisplay : Alignment against reconstruction over the weight of a loss.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", figure 5.

    Examples
    --------
    >>> import pandas as pd
    >>> from skxsae.inspection import AlphaSweepDisplay
    >>> frame = pd.DataFrame({"method": "shared", "metric": "collapse",
    ...     "alpha": [0.0, 0.5, 1.0], "mean": [0.0, 0.1, 1.0]})
    >>> display = AlphaSweepDisplay(frame).plot()
    >>> display.axes_[0].get_title()
    'collapse'
    """

    def __init__(self, frame, *, metrics=None, methods=None, lower_is_better=None):
        self.frame = frame
        self.metrics = metrics
        self.methods = methods
        self.lower_is_better = lower_is_better

    def plot(self, ax=None, *, line_kw=None):
        """Draw a panel for each measure.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Axes to draw on, one for each measure. None makes a new figure.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.errorbar``, such as ``{"linewidth": 2}``.

        Returns
        -------
        AlphaSweepDisplay
            The display, with ``axes_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `frame` is no DataFrame.

        ValueError
            If a column is missing, a setting was measured twice, or `metrics`,
            `methods` or `lower_is_better` has a name that `frame` has not.
        """
        table = check_measurements(self.frame, "alpha")
        metrics = check_names(self.metrics, table["metric"], "metrics")
        methods = check_names(self.methods, table["method"], "methods")
        lower = check_lower(self.lower_is_better, table["metric"])
        table["distance"] = 1 - table["alpha"]
        self.axes_ = panel_axes(f"{type(self).__name__}.plot", ax, len(metrics))
        self.figure_ = self.axes_[0].figure
        self.lines_ = []
        for panel, metric in zip(self.axes_, metrics, strict=True):
            of_metric = table[table["metric"] == metric]
            self.lines_.append(
                draw_sweep(panel, of_metric, "distance", methods, line_kw)
            )
            panel.set(title=metric, xlabel="Cosine distance of the directions")
            panel.set_ylabel(which_is_better(metric, lower).capitalize())
            panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
            tidy(panel)
        add_legend(self.axes_, ax is None, methods)
        return self
