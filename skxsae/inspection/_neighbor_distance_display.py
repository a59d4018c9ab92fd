"""The picture of a gap: distances to a native set, of native rows and of others."""

import numpy as np

from skxsae.inspection._plotting import (
    X_COLOR,
    Y_COLOR,
    check_n_bins,
    check_view_names,
    import_pyplot,
    panel_axes,
    tidy,
)
from skxsae.inspection._sweep import add_legend
from skxsae.metrics._neighbors import _best_accuracy, nearest_neighbor_distances


class NeighborDistanceDisplay:
    """Histograms of the distances to the k-th neighbour in a native set.

    Where rows of another view are farther from the native rows than these are from each
    other, there is a gap; after an intervention that closes it, the two histograms lie
    on each other. These are figures 4 and 25 of the iso-energy paper [1]_.

    It is recommended to use `from_arrays` to make a display.

    Parameters
    ----------
    distances : dict of tuple of array-like
        For each panel, by its title, the distances of the native rows and those of the
        others, see :func:`skxsae.metrics.nearest_neighbor_distances`.

    k : int, default=None
        Which neighbour, for the label of the axis.

    view_names : tuple of str, default=("x", "y")
        What the native and the other rows are called.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        Panels.

    figure_ : matplotlib Figure
        Figure that holds the panels.

    stairs_ : list of list of matplotlib StepPatch
        Histograms of the native and of the other rows, of each panel.

    scores_ : dict of float
        Balanced accuracy, at the best threshold on the distance, of telling the others
        from the native rows, see :func:`skxsae.metrics.ood_score`.

    See Also
    --------
    skxsae.metrics.ood_score : The number above each panel.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.inspection import NeighborDistanceDisplay
    >>> X, y = np.random.default_rng(0).standard_normal((2, 100, 5)) + 1
    >>> display = NeighborDistanceDisplay.from_arrays(
    ...     {"before": (X, -y), "after": (X, y)})
    >>> display.scores_["after"] < display.scores_["before"]
    True
    """

    def __init__(self, distances, *, k=None, view_names=("x", "y")):
        self.distances = distances
        self.k = k
        self.view_names = view_names

    def plot(self, ax=None, *, n_bins=40, sharex=True, stairs_kw=None):
        """Draw a panel for each pair of histograms.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            Axes to draw on, one for each panel. None makes a new figure.

        n_bins : int, default=40
            Number of bins of equal width.

        sharex : bool, default=True
            Whether all panels have the same bins. Interventions that add a large vector
            make all distances small, and need bins of their own.

        stairs_kw : dict, default=None
            Keywords of all calls of ``ax.stairs``, such as ``{"alpha": 1}``.

        Returns
        -------
        NeighborDistanceDisplay
            The display, with ``axes_``, ``figure_``, ``stairs_`` and ``scores_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If there is no panel, no finite distance in one, or `n_bins` is not
            positive.
        """
        names = check_view_names(self.view_names)
        n_bins = check_n_bins(n_bins)
        panels = _check_distances(self.distances)
        self.axes_ = panel_axes(
            f"{type(self).__name__}.plot", ax, len(panels), sharex=sharex
        )
        self.figure_ = self.axes_[0].figure
        self.scores_ = {title: _best_accuracy(*two) for title, two in panels.items()}
        self.stairs_ = []
        everything = [part for two in panels.values() for part in two]
        for panel, (title, two) in zip(self.axes_, panels.items(), strict=True):
            edges = _bins(everything if sharex else two, n_bins)
            self.stairs_.append(
                [
                    panel.stairs(
                        np.histogram(values, edges, density=True)[0],
                        edges,
                        **{"fill": True, "alpha": 0.55, "color": color}
                        | {"label": label, **(stairs_kw or {})},
                    )
                    for values, label, color in zip(
                        two, names, (X_COLOR, Y_COLOR), strict=True
                    )
                ]
            )
            panel.set_title(f"{title}\nOOD score {self.scores_[title]:.2f}")
        self._annotate(names)
        add_legend(self.axes_, ax is None, list(names))
        return self

    def _annotate(self, names):
        """Set labels."""
        neighbor = "a near" if self.k is None else f"the {_ordinal(self.k)}"
        for panel in self.axes_:
            panel.set_xlabel(f"Cosine distance to\n{neighbor} neighbour in {names[0]}")
            panel.set_ylim(bottom=0)
            tidy(panel)
        self.axes_[0].set_ylabel("Density")

    @classmethod
    def from_arrays(
        cls,
        arrays,
        *,
        k=10,
        view_names=("x", "y"),
        ax=None,
        n_bins=40,
        sharex=True,
        stairs_kw=None,
    ):
        """Find the neighbours, and draw the distances to them.

        Parameters
        ----------
        arrays : dict of tuple of array-like
            For each panel, by its title, the native rows and the others, as embeddings
            or codes of one space: before and after an intervention.

        k : int, default=10
            Which neighbour. A native row is not its own.

        view_names : tuple of str, default=("x", "y")
            What the native and the other rows are called.

        ax : matplotlib Axes or array-like of them, default=None
            Axes to draw on, one for each panel. None makes a new figure.

        n_bins : int, default=40
            Number of bins of equal width.

        sharex : bool, default=True
            Whether all panels have the same bins.

        stairs_kw : dict, default=None
            Keywords of all calls of ``ax.stairs``.

        Returns
        -------
        NeighborDistanceDisplay
            The display, drawn; its numbers are in ``distances``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If `arrays` is empty or a panel has no two of them, widths differ, or there
            are no more than `k` native rows.
        """
        import_pyplot(f"{cls.__name__}.from_arrays")
        distances = {
            title: (
                nearest_neighbor_distances(native, k=k),
                nearest_neighbor_distances(others, native, k=k),
            )
            for title, (native, others) in _check_arrays(arrays).items()
        }
        display = cls(distances, k=k, view_names=view_names)
        return display.plot(ax, n_bins=n_bins, sharex=sharex, stairs_kw=stairs_kw)


def _check_arrays(arrays):
    """Two arrays of rows for each panel."""
    for title, two in arrays.items():
        is_pair = isinstance(two, (tuple, list)) and len(two) == 2
        if not is_pair or min(map(np.ndim, two)) < 2:
            raise ValueError(
                f"arrays[{title!r}] must be two arrays, the native rows and the others."
            )
    return arrays


def _check_distances(distances):
    """Distances in float64 by title; each panel has some of both kinds."""
    if not distances:
        raise ValueError("distances is empty: give at least one panel by title.")
    panels = {
        title: [np.asarray(part, dtype=np.float64).ravel() for part in two]
        for title, two in distances.items()
    }
    for title, two in panels.items():
        if len(two) != 2 or not all(
            len(part) and np.isfinite(part).all() for part in two
        ):
            raise ValueError(
                f"distances[{title!r}] must be two lists of finite distances, of the "
                "native rows and of the others."
            )
    return panels


def _bins(parts, n_bins):
    """Edges of bins of equal width over all values."""
    return np.histogram_bin_edges(np.concatenate(parts), n_bins)


def _ordinal(number):
    """``1st``, ``2nd``, ``10th``."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"
