"""The picture of how strongly each concept is active in each of two views."""

import numpy as np

from skxsae.inspection._paired_concepts import paired_concepts
from skxsae.inspection._plotting import (
    BOTH_COLOR,
    X_COLOR,
    Y_COLOR,
    check_view_names,
    import_pyplot,
    one_axes,
    tidy,
)
from skxsae.metrics import energy, energy_shares
from skxsae.metrics._modality import (
    KINDS,
    check_energies,
    latent_kinds,
    modality_scores_of,
)

_COLORS = {"bimodal": BOTH_COLOR, "x_only": X_COLOR, "y_only": Y_COLOR}


class EnergyDisplay:
    """Energy of each concept in one view against its energy in the other.

    A point for each concept that is ever active, on logarithmic axes, coloured by
    whether both views have it. Between the dashed lines are the bimodal concepts. This
    is figure 2 (left) of the iso-energy paper [1]_.

    It is recommended to use `from_estimator` or `from_codes` to make a display.

    Parameters
    ----------
    x_energy : array-like of shape (n_latents,)
        Energies in the first view, see :func:`skxsae.metrics.energy`.

    y_energy : array-like of shape (n_latents,)
        Energies of the same concepts in the second view.

    tau : float, default=0.05
        A concept is bimodal if its modality score is in ``[tau, 1 - tau]``.

    view_names : tuple of str, default=("x", "y")
        What the views are called.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.

    figure_ : matplotlib Figure
        Figure that holds the axes.

    points_ : list of matplotlib PathCollection
        Points of each kind that there is: bimodal, first view, second view.

    lines_ : list of matplotlib Line2D
        Where the modality score is 0.5, `tau` and ``1 - tau``.

    See Also
    --------
    ModalityScoreDisplay : How the concepts are spread over the modality score.
    skxsae.metrics.energy_shares : The numbers of the legend.

    Notes
    -----
    Axes are linear below the power of ten under the smallest energy, so that a concept
    without energy in one view is drawn at 0, on the edge.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026.

    Examples
    --------
    >>> from skxsae.inspection import EnergyDisplay
    >>> display = EnergyDisplay([4.0, 1.0, 0.0], [0.0, 1.1, 2.0]).plot()
    >>> [points.get_label() for points in display.points_]
    ['both (1, 26 % of energy)', 'x only (1, 49 % of energy)',
     'y only (1, 25 % of energy)']
    """

    def __init__(self, x_energy, y_energy, *, tau=0.05, view_names=("x", "y")):
        self.x_energy = x_energy
        self.y_energy = y_energy
        self.tau = tau
        self.view_names = view_names

    def plot(self, ax=None, *, scatter_kw=None):
        """Draw the points, and lines of equal modality score.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        scatter_kw : dict, default=None
            Keywords of all calls of ``ax.scatter``, such as ``{"s": 4}``.

        Returns
        -------
        EnergyDisplay
            The display, with ``ax_``, ``figure_``, ``points_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If energies are negative or not finite, their numbers differ, or no concept
            has energy.
        """
        names = check_view_names(self.view_names)
        of_x = check_energies(self.x_energy, "x_energy")
        of_y = check_energies(self.y_energy, "y_energy", len(of_x))
        if not (of_x.any() or of_y.any()):
            raise ValueError(
                "x_energy and y_energy are all 0: no concept is ever active, and there "
                "is nothing to draw."
            )
        shares = energy_shares(of_x, of_y, tau=self.tau)
        # square axes, and room for the legend beside them
        caller, figsize = f"{type(self).__name__}.plot", (7.6, 4.4)
        self.ax_ = ax = one_axes(caller, ax, figsize)
        self.figure_ = ax.figure
        kinds = latent_kinds(modality_scores_of(of_x, of_y), self.tau)
        of_kind = {kind: kinds == number for number, kind in enumerate(KINDS)}
        self.points_ = [
            ax.scatter(
                of_x[mask],
                of_y[mask],
                **{"s": 14, "alpha": 0.7, "linewidths": 0, "clip_on": False}
                | {"color": _COLORS[kind], "zorder": 3}
                | {"label": _label(kind, names, shares)}
                | (scatter_kw or {}),
            )
            for kind, mask in of_kind.items()
            if mask.any()
        ]
        n_dead = int(np.sum((of_x == 0) & (of_y == 0)))
        self._annotate(names, n_dead, *_limits(of_x, of_y))
        return self

    def _annotate(self, names, n_dead, low, high):
        """Set equal axes, and draw the lines of equal modality score on them."""
        ax = self.ax_
        # a line of a smaller score would lie on the edge
        least = np.finfo(np.float64).eps
        scores = [s for s in {0.5, self.tau, 1 - self.tau} if least < s < 1]
        self.lines_ = [
            ax.plot(
                *_line_of_score(score, low, high),
                color="0.45",
                linewidth=1,
                linestyle=":" if score == 0.5 else "--",
                label="_",
            )[0]
            for score in sorted(scores, key=lambda score: abs(score - 0.5))
        ]
        # the part below takes a tenth of the axis, which is room for its label
        linear = max(0.4, 0.1 * np.log10(high / low))
        ax.set(xlim=(0, high), ylim=(0, high))
        for scale in (ax.set_xscale, ax.set_yscale):
            scale("symlog", linthresh=low, linscale=linear)
        ax.set(xlabel=f"Energy in {names[0]}", ylabel=f"Energy in {names[1]}")
        ax.set_box_aspect(1)
        tidy(ax)
        lines = ", ".join(f"{score:g}" for score in sorted(scores))
        title = f"Lines: modality score {lines}"
        if n_dead:
            title = f"{n_dead:,} concepts are never active\n{title}"
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        ax.legend(title=title, frameon=False, alignment="left", **place)

    @classmethod
    def from_codes(
        cls, X, y, *, p=2, tau=0.05, view_names=("x", "y"), ax=None, scatter_kw=None
    ):
        """Draw the energies of codes over the same latents.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_latents)
            Codes of the first view.

        y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
            Codes of the second view. Rows need not be paired.

        p : float, default=2
            Power of the energy, see :func:`skxsae.metrics.energy`.

        tau : float, default=0.05
            A concept is bimodal if its modality score is in ``[tau, 1 - tau]``.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        scatter_kw : dict, default=None
            Keywords of all calls of ``ax.scatter``.

        Returns
        -------
        EnergyDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If the numbers of columns differ.
        """
        display = cls(energy(X, p=p), energy(y, p=p), tau=tau, view_names=view_names)
        return display.plot(ax, scatter_kw=scatter_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        p=2,
        tau=0.05,
        view_names=("x", "y"),
        ax=None,
        scatter_kw=None,
    ):
        """Draw the energies of the concepts of a fitted estimator.

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
            A concept is bimodal if its modality score is in ``[tau, 1 - tau]``.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        scatter_kw : dict, default=None
            Keywords of all calls of ``ax.scatter``.

        Returns
        -------
        EnergyDisplay
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
        options = {"p": p, "tau": tau, "view_names": view_names}
        return cls.from_codes(
            codes["x"], codes["y"], ax=ax, scatter_kw=scatter_kw, **options
        )


def _label(kind, names, shares):
    """A kind of concept, how many there are, and their share of the energy."""
    of_kind = {"bimodal": "both", "x_only": f"{names[0]} only"}
    name = of_kind.get(kind, f"{names[1]} only")
    percent = 100 * getattr(shares, kind)
    amount = "< 1" if 0 < percent < 0.5 else f"{percent:.0f}"
    return f"{name} ({shares.n_latents[kind]:,}, {amount} % of energy)"


def _line_of_score(score, low, high):
    """Energies of one modality score, from the lower end of either axis."""
    x = np.geomspace(low * max(1, score / (1 - score)), high, 50)
    return x, x * (1 - score) / score


def _limits(of_x, of_y):
    """Power of ten below the smallest energy that is not 0, and above the largest.

    No more than twelve decades: what is weaker is drawn between 0 and the first.
    """
    energies = np.concatenate([of_x, of_y])
    energies = energies[energies > 0]
    smallest = max(energies.min(), energies.max() * 1e-12, 1e-300)
    low = 10.0 ** np.floor(np.log10(smallest))
    return low, max(energies.max() * 2, low * 10)
