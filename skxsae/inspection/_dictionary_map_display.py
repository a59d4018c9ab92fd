"""The map of a dictionary: near concepts near each other, coloured by their view."""

import numpy as np
from sklearn.preprocessing import normalize

from skxsae._concepts import concept_views
from skxsae.inspection._concept_table import direction_features, place_concepts
from skxsae.inspection._paired_concepts import paired_concepts
from skxsae.inspection._plotting import (
    check_view_names,
    import_pyplot,
    modality_colormap,
    one_axes,
)
from skxsae.metrics import energy
from skxsae.metrics._dictionary import check_dictionary, is_present
from skxsae.metrics._modality import check_energies, check_scores, modality_scores_of


class DictionaryMapDisplay:
    """Map of the concepts of a dictionary, coloured by modality score.

    A point for each concept that is ever active; its area grows with the square root of
    its energy. It is figure 2 (right) of the iso-energy paper [1]_ by other
    projections.

    It is recommended to use `from_estimator` or `from_components` to make a display.

    Parameters
    ----------
    places : array-like of shape (n_latents, 2)
        Place of each concept.

    scores : array-like of shape (n_latents,)
        Modality scores, see :func:`skxsae.metrics.modality_score`; NaN for a latent
        that is never active, which is left out.

    energies : array-like of shape (n_latents,), default=None
        Energy of each concept, the mean of both views. None gives equal points.

    view_names : tuple of str, default=("x", "y")
        What the views are called.

    axis_labels : tuple of str, default=("", "")
        What the two axes are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.

    figure_ : matplotlib Figure
        Figure that holds the axes.

    points_ : matplotlib PathCollection
        The points, those of more energy below the others.

    colorbar_ : matplotlib Colorbar
        What the colours mean.

    legend_ : matplotlib Legend or None
        Which energy the areas of the points stand for; None without energies.

    See Also
    --------
    explore : The map as a page, with what each concept is active on.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.inspection import DictionaryMapDisplay
    >>> display = DictionaryMapDisplay.from_components(
    ...     np.eye(4), [0.0, 0.5, 1.0, np.nan], [1.0, 4.0, 0.5, 0.0])
    >>> len(display.points_.get_offsets())
    3
    """

    def __init__(
        self,
        places,
        scores,
        energies=None,
        *,
        view_names=("x", "y"),
        axis_labels=("", ""),
    ):
        self.places = places
        self.scores = scores
        self.energies = energies
        self.view_names = view_names
        self.axis_labels = axis_labels

    def plot(self, ax=None, *, cmap=None, scatter_kw=None):
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        cmap : str or matplotlib Colormap, default=None
            Colours of the modality scores from 0 to 1. None goes from orange over grey
            to blue.

        scatter_kw : dict, default=None
            Keywords of ``ax.scatter``, such as ``{"s": 4}``.

        Returns
        -------
        DictionaryMapDisplay
            The display, with ``ax_``, ``figure_``, ``points_``, ``colorbar_`` and
            ``legend_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If shapes do not fit, a score is outside [0, 1], or an energy is negative.
        """
        names = check_view_names(self.view_names)
        scores = check_scores(self.scores)
        places = np.asarray(self.places, dtype=np.float64)
        if places.shape != (len(scores), 2):
            raise ValueError(
                f"places has shape {places.shape}, but there are {len(scores)} scores: "
                f"give an array of shape ({len(scores)}, 2)."
            )
        shown = np.flatnonzero(~np.isnan(scores))
        sizes = np.full(len(scores), 14.0)
        if self.energies is not None:
            energies = check_energies(self.energies, "energies", len(scores))
            sizes = _areas(energies, energies.max(initial=0))
            shown = shown[np.argsort(-sizes[shown], kind="stable")]
        self.ax_ = ax = one_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        self.points_ = ax.scatter(
            *places[shown].T,
            c=scores[shown],
            vmin=0,
            vmax=1,
            cmap=modality_colormap() if cmap is None else cmap,
            **{"s": sizes[shown], "edgecolors": "white", "linewidths": 0.3}
            | (scatter_kw or {}),
        )
        self._annotate(names)
        self.legend_ = None
        if self.energies is not None and energies[shown].any():
            self.legend_ = self._explain_areas(energies, scatter_kw or {})
        return self

    def _annotate(self, names):
        """Explain the colours, and leave out numbers that mean nothing."""
        ax = self.ax_
        self.colorbar_ = ax.figure.colorbar(self.points_, ax=ax, ticks=[0, 0.5, 1])
        self.colorbar_.set_label("Modality score")
        self.colorbar_.set_ticklabels([f"{names[1]} only", "both", f"{names[0]} only"])
        ax.set(xticks=[], yticks=[])
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])

    def _explain_areas(self, energies, scatter_kw):
        """Write beside three points how much energy they stand for."""
        if "s" in scatter_kw or "sizes" in scatter_kw:
            return None
        most = energies.max()
        examples = [0.01 * most, 0.1 * most, most]
        handles = [
            self.ax_.scatter([], [], s=area, color="0.6", label=f"{example:.2g}")
            for example, area in zip(
                examples, _areas(np.array(examples), most), strict=True
            )
        ]
        place = {"loc": "upper left", "bbox_to_anchor": (0.0, 1.12), "ncols": 4}
        return self.ax_.legend(
            handles=[self.ax_.scatter([], [], s=0, label="Energy:"), *handles],
            frameon=False,
            handletextpad=0.3,
            columnspacing=1.0,
            **place,
        )

    @classmethod
    def from_components(
        cls,
        components,
        scores,
        energies=None,
        *,
        layout="pca",
        random_state=0,
        view_names=("x", "y"),
        ax=None,
        cmap=None,
        scatter_kw=None,
    ):
        """Place the directions of one dictionary, and draw the map.

        Parameters
        ----------
        components : array-like of shape (n_latents, n_features)
            Direction of each concept, of any length. Those of concepts that are never
            active, and rows of zeros or NaN, do not shape the map.

        scores : array-like of shape (n_latents,)
            Modality scores, see :func:`skxsae.metrics.modality_score`.

        energies : array-like of shape (n_latents,), default=None
            Energy of each concept. None gives equal points.

        layout : {"pca", "tsne"}, default="pca"
            Two principal components of the unit directions, with the share of their
            variance that each explains, or t-SNE, which takes more time.

        random_state : int, RandomState instance or None, default=0
            Seed of t-SNE.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        cmap : str or matplotlib Colormap, default=None
            Colours of the modality scores from 0 to 1.

        scatter_kw : dict, default=None
            Keywords of ``ax.scatter``.

        Returns
        -------
        DictionaryMapDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If the numbers of concepts differ, `layout` is another, or no concept with a
            direction is ever active.
        """
        components = check_dictionary(components, "components")
        scores = check_scores(scores)
        if len(scores) != len(components):
            raise ValueError(
                f"scores has {len(scores)} entries and components {len(components)} "
                "rows: give one score for each direction."
            )
        scores = np.where(is_present(components), scores, np.nan)
        places, labels = _places(
            components, ~np.isnan(scores), layout, random_state, "directions"
        )
        options = {"view_names": view_names, "axis_labels": labels}
        display = cls(places, scores, energies, **options)
        return display.plot(ax, cmap=cmap, scatter_kw=scatter_kw)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        p=2,
        layout="pca",
        random_state=0,
        view_names=("x", "y"),
        ax=None,
        cmap=None,
        scatter_kw=None,
    ):
        """Draw the map of the concepts of a fitted estimator.

        A concept with a direction in each view is placed by both, beside each other;
        the part of a view that lacks it is 0.

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

        layout : {"pca", "tsne"}, default="pca"
            Two principal components of the unit directions, or t-SNE, which takes more
            time.

        random_state : int, RandomState instance or None, default=0
            Seed of t-SNE.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        cmap : str or matplotlib Colormap, default=None
            Colours of the modality scores from 0 to 1.

        scatter_kw : dict, default=None
            Keywords of ``ax.scatter``.

        Returns
        -------
        DictionaryMapDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `estimator` is of another kind.

        ValueError
            If `layout` is another, or no concept is ever active.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        concepts = paired_concepts(estimator, X, y)
        of_x, of_y = (energy(concepts.codes[name], p=p) for name in "xy")
        features = direction_features(concepts)
        scores = modality_scores_of(of_x, of_y)
        scores = np.where(is_present(features), scores, np.nan)
        is_pair = len(concept_views(estimator)) == 2
        what = "directions in both views, side by side" if is_pair else "directions"
        places, labels = _places(
            features, ~np.isnan(scores), layout, random_state, what
        )
        options = {"view_names": view_names, "axis_labels": labels}
        display = cls(places, scores, (of_x + of_y) / 2, **options)
        return display.plot(ax, cmap=cmap, scatter_kw=scatter_kw)


def _places(components, shown, layout, random_state, what):
    """Places of the concepts that are shown, NaN of others, and labels of the axes."""
    if layout not in ("pca", "tsne"):
        raise ValueError(f"layout={layout!r} must be 'pca' or 'tsne'.")
    if not shown.any():
        raise ValueError(
            "No concept with a direction is active on the samples: there is nothing to "
            "draw. Give samples that the dictionary was fitted for."
        )
    places = np.full((len(components), 2), np.nan)
    unit = normalize(components[shown]).astype(np.float32)
    places[shown] = place_concepts(unit, layout, random_state)
    if layout == "tsne":
        return places, (f"t-SNE of the {what}", "")
    total = unit.var(axis=0, dtype=np.float64).sum() or 1.0
    shares = 100 * np.nanvar(places, axis=0) / total
    first, second = (f"{share:.0f} % of the variance" for share in shares)
    return places, (
        f"First principal component of the\n{what} ({first})",
        f"Second principal component ({second})",
    )


def _areas(energies, most):
    """Area of each point in square points, that of the largest energy 150."""
    return 6 + 144 * np.sqrt(energies / (most or 1))
