"""The histogram of modality scores, of concepts and of their energy."""

import numpy as np

from skxsae.inspection._paired_concepts import paired_concepts
from skxsae.inspection._plotting import (
    COLORS,
    check_n_bins,
    check_view_names,
    import_pyplot,
    one_axes,
    tidy,
)
from skxsae.metrics import energy
from skxsae.metrics._modality import check_energies, check_scores, modality_scores_of


class ModalityScoreDisplay:
    """How the concepts, and their energy, are spread over the modality score.

    Bars show the share of the concepts, the outline the share of the energy: a few
    concepts of one view can hold most of it. Concepts that are never active take no
    part.

    It is recommended to use `from_estimator` or `from_codes` to make a display.

    Parameters
    ----------
    scores : array-like of shape (n_latents,)
        Modality scores, see :func:`skxsae.metrics.modality_score`; NaN for a latent
        that is never active.

    energies : array-like of shape (n_latents,), default=None
        Energy of each concept, the mean of both views. None leaves the outline out.

    tau : float, default=0.05
        Scores in ``[tau, 1 - tau]`` are of bimodal concepts, between the dashed lines.

    view_names : tuple of str, default=("x", "y")
        What the views are called.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the histograms.

    figure_ : matplotlib Figure
        Figure that holds the axes.

    stairs_ : list of matplotlib StepPatch
        Histogram of the concepts and, with `energies`, that of the energy.

    See Also
    --------
    EnergyDisplay : The energies behind the scores.

    Examples
    --------
    >>> from skxsae.inspection import ModalityScoreDisplay
    >>> display = ModalityScoreDisplay([0.0, 0.5, 0.5, 1.0], [8.0, 1.0, 1.0, 0.0])
    >>> of_concepts, of_energy = display.plot(n_bins=2).stairs_
    >>> of_concepts.get_data().values
    array([0.25, 0.75])
    >>> of_energy.get_data().values
    array([0.8, 0.2])
    """

    def __init__(self, scores, energies=None, *, tau=0.05, view_names=("x", "y")):
        self.scores = scores
        self.energies = energies
        self.tau = tau
        self.view_names = view_names

    def plot(self, ax=None, *, n_bins=20, stairs_kw=None):
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        n_bins : int, default=20
            Number of bins of equal width from 0 to 1.

        stairs_kw : dict, default=None
            Keywords of all calls of ``ax.stairs``, such as ``{"linewidth": 3}``.

        Returns
        -------
        ModalityScoreDisplay
            The display, with ``ax_``, ``figure_`` and ``stairs_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If a score is outside [0, 1], an energy is negative or missing, `n_bins` is
            not positive, or no concept is ever active.
        """
        names = check_view_names(self.view_names)
        scores = check_scores(self.scores)
        alive = ~np.isnan(scores)
        n_bins = check_n_bins(n_bins)
        if not alive.any():
            raise ValueError("scores are all NaN: no concept is ever active.")
        dead = f"; {(~alive).sum():,} never active" if not alive.all() else ""
        weights = {f"concepts ({alive.sum():,}{dead})": np.ones(len(scores))}
        if self.energies is not None:
            weights["energy"] = check_energies(self.energies, "energies", len(scores))
        self.ax_ = ax = one_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        self.stairs_ = []
        for (label, of_latent), style in zip(weights.items(), _STYLES, strict=False):
            counts, edges = np.histogram(
                scores[alive], n_bins, (0, 1), weights=of_latent[alive]
            )
            shares = counts / (counts.sum() or 1)
            options = {**style, "label": label, **(stairs_kw or {})}
            self.stairs_.append(ax.stairs(shares, edges, **options))
        self._annotate(names)
        return self

    def _annotate(self, names):
        """Name the ends of the axis by the views, and mark bimodal scores."""
        ax = self.ax_
        for score in (self.tau, 1 - self.tau):
            ax.axvline(score, color="0.45", linestyle="--", linewidth=1, zorder=0)
        ax.set(xlabel="Modality score", ylabel="Share", xlim=(0, 1))
        ax.set_xticks(
            [0, 0.25, 0.5, 0.75, 1],
            [f"0\n{names[1]} only", "0.25", "0.5\nboth", "0.75", f"1\n{names[0]} only"],
        )
        ax.set_ylim(bottom=0)
        tidy(ax)
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
        ax.legend(frameon=False, **place)

    @classmethod
    def from_codes(
        cls,
        X,
        y,
        *,
        p=2,
        tau=0.05,
        n_bins=20,
        view_names=("x", "y"),
        ax=None,
        stairs_kw=None,
    ):
        """Draw the modality scores of codes over the same latents.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_latents)
            Codes of the first view.

        y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
            Codes of the second view. Rows need not be paired.

        p : float, default=2
            Power of the energy, see :func:`skxsae.metrics.energy`.

        tau : float, default=0.05
            Scores in ``[tau, 1 - tau]`` are of bimodal concepts.

        n_bins : int, default=20
            Number of bins of equal width from 0 to 1.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        stairs_kw : dict, default=None
            Keywords of all calls of ``ax.stairs``.

        Returns
        -------
        ModalityScoreDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If the numbers of columns differ.
        """
        of_x, of_y = energy(X, p=p), energy(y, p=p)
        check_energies(of_y, "y", len(of_x))
        scores, energies = modality_scores_of(of_x, of_y), (of_x + of_y) / 2
        display = cls(scores, energies, tau=tau, view_names=view_names)
        return display.plot(ax, n_bins=n_bins, stairs_kw=stairs_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        p=2,
        tau=0.05,
        n_bins=20,
        view_names=("x", "y"),
        ax=None,
        stairs_kw=None,
    ):
        """Draw the modality scores of the concepts of a fitted estimator.

        Parameters
        ----------
        estimator : PostHocAlignedSAE, PairedSAE or TopKSAE
            Fitted estimator. A :class:`~skxsae.TopKSAE` has one dictionary for both
            views, which then have its width.

        X : array-like of shape (n_samples, n_features)
            Samples of the first view.

        y : array-like of shape (n_samples_y, n_features_y)
            Samples of the second view. Rows need not be paired.

        p : float, default=2
            Power of the energy, see :func:`skxsae.metrics.energy`.

        tau : float, default=0.05
            Scores in ``[tau, 1 - tau]`` are of bimodal concepts.

        n_bins : int, default=20
            Number of bins of equal width from 0 to 1.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        stairs_kw : dict, default=None
            Keywords of all calls of ``ax.stairs``.

        Returns
        -------
        ModalityScoreDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `estimator` is of another kind.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        codes = paired_concepts(estimator, X, y).codes
        return cls.from_codes(
            codes["x"],
            codes["y"],
            p=p,
            tau=tau,
            n_bins=n_bins,
            view_names=view_names,
            ax=ax,
            stairs_kw=stairs_kw,
        )


_STYLES = (
    {"fill": True, "color": "#b0b0b0"},
    {"fill": False, "color": COLORS[0], "linewidth": 2},
)
