"""The picture of a heterogeneity report."""

import numpy as np
from sklearn.utils import check_consistent_length

from skxsae._concepts import both_autoencoders
from skxsae.inspection._heterogeneity import BANDS, heterogeneity_report
from skxsae.inspection._plotting import import_pyplot, one_axes, tidy

_GRID = np.linspace(0, 2, 801)
# a density of fewer pairs says little, and is drawn as one that does
_FEW_PAIRS = 30


class HeterogeneityDisplay:
    """Distributions of the distances between the directions of two views.

    One density for each band of correlation of the latents of a
    :class:`HeterogeneityReport`; bands without pairs are left out. It is recommended to
    use `from_estimator` or `from_report` to make a display.

    Parameters
    ----------
    report : HeterogeneityReport
        What is drawn.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure that holds the axes.

    lines_ : list of matplotlib Line2D
        Curve of each band that has pairs, from the lowest correlation to the highest.

    See Also
    --------
    heterogeneity_report : The numbers behind the picture.

    Notes
    -----
    Densities are Gaussian kernel estimates from the histogram, mirrored at 0 and at 2
    so that none of their area is lost. The bandwidth is that of Scott's rule, for the
    standard deviation inside the bands: a band of a few pairs gets a wide curve, one of
    many pairs a curve that shows detail, down to the width of a bin. A band of fewer
    than 30 pairs is a thin dotted line.

    Examples
    --------
    >>> from skxsae import PostHocAlignedSAE
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.inspection import HeterogeneityDisplay
    >>> data = make_paired_features(2000, n_features=32, n_shared=32, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, sparsity=0.95, random_state=0)
    >>> sae = PostHocAlignedSAE(n_latents=64, k=4, max_iter=60, random_state=0)
    >>> sae = sae.fit(data.X, data.y)
    >>> display = HeterogeneityDisplay.from_estimator(
    ...     sae, data.X, data.y, bands=(0, 0.5, 1))
    >>> weak, strong = display.report.mean
    >>> bool(0.3 < strong < weak)
    True
    """

    def __init__(self, report):
        self.report = report

    def plot(self, ax=None, *, cmap="plasma_r", line_kw=None):
        """Draw the density of each band that has pairs.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        cmap : str or matplotlib Colormap, default="plasma_r"
            Colours of the bands, from the lowest correlation to the highest.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``, such as ``{"linewidth": 2}``.

        Returns
        -------
        HeterogeneityDisplay
            The display, with ``ax_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        caller = f"{type(self).__name__}.plot"
        plt, ax = import_pyplot(caller), one_axes(caller, ax)
        self.ax_, self.figure_ = ax, ax.figure
        # the lightest fifth of the map is hard to see on white
        colors = plt.get_cmap(cmap)(np.linspace(0.2, 1, len(self.report.counts)))
        self.lines_ = [
            ax.plot(
                _GRID,
                _density(self.report, band),
                **{"color": colors[band], "label": _label(self.report, band)}
                | _weight(self.report.counts[band].sum())
                | (line_kw or {}),
            )[0]
            for band in np.flatnonzero(self.report.counts.any(axis=1))
        ]
        self._annotate()
        return self

    def _annotate(self):
        """Set labels, limits and legend, the distance 0 always in sight."""
        ax, report = self.ax_, self.report
        _, occupied = np.nonzero(report.counts)
        farthest = report.bin_edges[occupied.max(initial=0) + 1]
        ax.set(
            xlabel="Decoder cosine distance (0: same direction, 1: orthogonal)",
            ylabel="Density",
            xlim=(0, min(2, max(1.2, farthest + 0.1))),
        )
        ax.set_ylim(bottom=0)
        tidy(ax)
        if self.lines_:
            ax.legend(title="Correlation of the codes", frameon=False)

    @classmethod
    def from_report(cls, report, *, ax=None, cmap="plasma_r", line_kw=None):
        """Draw a report.

        Parameters
        ----------
        report : HeterogeneityReport
            What :func:`heterogeneity_report` returned.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        cmap : str or matplotlib Colormap, default="plasma_r"
            Colours of the bands, from the lowest correlation to the highest.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``.

        Returns
        -------
        HeterogeneityDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(report).plot(ax, cmap=cmap, line_kw=line_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        bands=BANDS,
        n_bins=100,
        min_fires=1,
        ax=None,
        cmap="plasma_r",
        line_kw=None,
    ):
        """Draw the report of a fitted estimator on pairs of samples.

        Each view is encoded by its own autoencoder, and the directions are those of its
        decoder in the units of the input, so that views that are normalised differently
        are compared in the space they share. Columns that a view lacks take no part.

        Parameters
        ----------
        estimator : PostHocAlignedSAE or PairedSAE
            Fitted estimator, of two views of the same width.

        X : array-like of shape (n_samples, n_features)
            First view.

        y : array-like of shape (n_samples, n_features)
            Second view: row i is the partner of row i of X.

        bands : array-like of shape (n_bands + 1,), default=(0, 0.2, 0.4, 0.6, 0.8, 1)
            Increasing edges of the bands of correlation, in [0, 1].

        n_bins : int, default=100
            Number of bins of the histogram of distances.

        min_fires : int, default=1
            Number of samples on which a latent must be active to take part.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        cmap : str or matplotlib Colormap, default="plasma_r"
            Colours of the bands, from the lowest correlation to the highest.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``.

        Returns
        -------
        HeterogeneityDisplay
            The display, drawn; its numbers are in ``report``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `estimator` does not hold an autoencoder for each of two views.

        ValueError
            If the two views differ in width, or no latent of a view takes part.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        x_sae, y_sae = both_autoencoders(estimator)
        check_consistent_length(X, y)
        report = heterogeneity_report(
            x_sae.transform(X),
            y_sae.transform(y),
            x_sae.components_.astype(np.float64) * x_sae.scale_,
            y_sae.components_.astype(np.float64) * y_sae.scale_,
            bands=bands,
            n_bins=n_bins,
            min_fires=min_fires,
        )
        return cls.from_report(report, ax=ax, cmap=cmap, line_kw=line_kw)


def _density(report, band):
    """Kernel density of the distances in a band, on `_GRID`."""
    counts, edges = report.counts[band], report.bin_edges
    centers = (edges[:-1] + edges[1:]) / 2
    bandwidth = _bandwidth(report, counts.sum())
    mirrored = np.stack([centers, -centers, 4 - centers])
    z = (_GRID[:, None, None] - mirrored) / bandwidth
    kernels = np.exp(-(z**2) / 2).sum(axis=1)
    return kernels @ counts / (counts.sum() * bandwidth * np.sqrt(2 * np.pi))


def _bandwidth(report, n_pairs):
    """Scott's rule for the deviation inside the bands, at least the width of a bin."""
    of_band = report.counts.sum(axis=1)
    variance = np.nansum(report.std**2 * of_band) / of_band.sum()
    return max(np.sqrt(variance) * n_pairs**-0.2, report.bin_edges[1])


def _weight(n_pairs):
    """Thin dots for a few pairs."""
    few = n_pairs < _FEW_PAIRS
    return {"linewidth": 1, "linestyle": ":"} if few else {"linewidth": 2}


def _label(report, band):
    """Edges of a band and its number of pairs."""
    low, high = report.bands[band : band + 2]
    n_pairs = int(report.counts[band].sum())
    return f"{low:g} to {high:g} ({n_pairs:,} pair{'s' * (n_pairs != 1)})"
