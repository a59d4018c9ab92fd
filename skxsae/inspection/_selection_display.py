"""Scores of an estimator over a grid of sizes and sparsities."""

from itertools import combinations, product
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import check_random_state

from skxsae._quiet import quiet
from skxsae.inspection._plotting import import_pyplot, panel_axes, style_of, tidy
from skxsae.metrics import stability_chance, stability_score
from skxsae.metrics._scorers import last_step
from skxsae.model_selection._measures import (
    check_encoder,
    fit_pairs,
    measure,
    share_above_noise,
)
from skxsae.model_selection._split import check_held_out_depths, items_of, split_pairs

_TITLES = {
    "explained_variance": "Explained variance",
    "matches_above_noise": "Share of matches above noise",
    "stability": "Stability between seeds",
    "recall": "Recall",
}
_KINDS = ("lines", "heatmap")


class SelectionDisplay:
    """Four scores over the number of latents and of active latents, side by side.

    No score can choose alone: explained variance grows with both numbers, and what
    grows with it may be noise. It is recommended to use `from_estimator` to make a
    display.

    Parameters
    ----------
    results : DataFrame
        A row for each setting with the columns "k", "n_latents", "explained_variance",
        "matches_above_noise", "stability" and "recall"; and "stability_chance", if it
        is known: the stability of random directions, a dotted line.

    recall_k : int, default=10
        Number of answers that recall looks at, for the title.

    fits : DataFrame, default=None
        A row for each fit with the same columns but stability, which is of pairs of
        fits. If given, lines have a dot for each fit.

    Attributes
    ----------
    axes_ : ndarray of shape (4,) of matplotlib Axes
        Axes of the panels.

    figure_ : matplotlib Figure
        Figure that holds them.

    lines_ : list of list of matplotlib Line2D
        Lines of each panel, one for each number of latents. With ``kind="lines"``.

    images_ : list of matplotlib AxesImage
        Image of each panel, each with a colour bar, as scores differ in their ranges.
        With ``kind="heatmap"``.

    See Also
    --------
    skxsae.model_selection.compare : Several estimators, with intervals.
    matching_curve : One estimator over the number of pairs.

    Examples
    --------
    >>> from skxsae import PairedSAE
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.inspection import SelectionDisplay
    >>> data = make_paired_features(1000, n_features=16, n_shared=16, n_x_only=0,
    ...     n_y_only=0, max_interference=0.8, sparsity=0.9, random_state=0)
    >>> display = SelectionDisplay.from_estimator(
    ...     PairedSAE(max_iter=5), data.X, data.y, k=[1, 4], n_latents=[16, 32],
    ...     random_state=0)
    >>> table = display.to_frame()
    >>> table.shape
    (4, 7)
    >>> ev = table.groupby("k")["explained_variance"].mean()
    >>> bool(ev[1] < ev[4])
    True
    """

    def __init__(self, results, *, recall_k=10, fits=None):
        self.results = results
        self.recall_k = recall_k
        self.fits = fits

    def to_frame(self):
        """Return the scores as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each setting: "k", "n_latents", the four scores and, from
            `from_estimator`, "stability_chance".
        """
        return self.results.copy()

    def plot(self, ax=None, *, kind="lines", cmap="viridis", line_kw=None):
        """Draw a panel for each score.

        Parameters
        ----------
        ax : array-like of 4 matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        kind : {"lines", "heatmap"}, default="lines"
            A line over k for each number of latents, or a map of both with the numbers
            written in.

        cmap : str or matplotlib Colormap, default="viridis"
            Colours of a heat map.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``.

        Returns
        -------
        SelectionDisplay
            The display, with ``axes_`` and ``figure_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If `kind` is unknown or the number of axes is not 4.
        """
        _check_kind(kind)
        caller = f"{type(self).__name__}.plot"
        self.axes_ = panel_axes(caller, ax, len(_TITLES), size=(3.2, 3.2))
        self.figure_ = self.axes_[0].figure
        panels = list(zip(self.axes_, _TITLES, strict=True))
        if kind == "lines":
            self.lines_ = [self._draw_lines(*panel, line_kw) for panel in panels]
            self.axes_[0].legend(title="n_latents", frameon=False)
        else:
            self.images_ = [self._draw_map(*panel, cmap) for panel in panels]
        for panel, name in panels:
            title = _TITLES[name]
            title = f"{title}@{self.recall_k}" if name == "recall" else title
            if name == "stability" and "stability_chance" in self.results:
                title += "\n(dotted: random directions)" if kind == "lines" else ""
            panel.set_title(title)
            panel.set_xlabel("k")
        return self

    def _draw_lines(self, ax, name, line_kw):
        """A line over k for each number of latents."""
        lines = []
        for number, (size, rows) in enumerate(self.results.groupby("n_latents")):
            style = {**style_of(number), "label": f"{size:,}", **(line_kw or {})}
            rows = rows.sort_values("k")
            lines += ax.plot(rows["k"], rows[name], **style)
            self._draw_beside(ax, name, size, rows, style["color"])
        if self.results[name].isna().all():
            words = {"ha": "center", "va": "center", "transform": ax.transAxes}
            ax.text(0.5, 0.5, "not measured", **words)
        ticks = np.unique(self.results["k"])
        ax.set_xscale("log", base=2)
        ax.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        ax.minorticks_off()
        tidy(ax)
        return lines

    def _draw_beside(self, ax, name, size, rows, color):
        """The level of chance of a line, or a dot for each of its fits."""
        if name == "stability" and "stability_chance" in rows:
            options = {"color": color, "linestyle": ":", "linewidth": 1.2}
            ax.plot(rows["k"], rows["stability_chance"], label="_", **options)
        elif self.fits is not None and name in self.fits:
            fits = self.fits[self.fits["n_latents"] == size]
            options = {"color": color, "s": 10, "alpha": 0.5, "linewidths": 0}
            ax.scatter(fits["k"], fits[name], label="_", **options)

    def _draw_map(self, ax, name, cmap):
        """A map of the score with its numbers."""
        grid = self.results.pivot(index="n_latents", columns="k", values=name)
        image = ax.imshow(grid, cmap=cmap, aspect="auto", origin="lower")
        ax.set_xticks(range(grid.shape[1]), labels=[f"{k}" for k in grid.columns])
        ax.set_yticks(range(grid.shape[0]), labels=[f"{m:,}" for m in grid.index])
        ax.set_ylabel("n_latents")
        ax.figure.colorbar(image, ax=ax)
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            # black or white, whichever is told apart from what is behind
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            options = {"ha": "center", "va": "center", "fontsize": "small"}
            color = "white" if dark and np.isfinite(value) else "black"
            ax.text(column, row, f"{value:.2f}", color=color, **options)
        return image

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        k,
        n_latents,
        groups=None,
        test_size=0.25,
        n_seeds=2,
        recall_k=10,
        random_state=None,
        ax=None,
        kind="lines",
        cmap="viridis",
        line_kw=None,
    ):
        """Fit an estimator at every setting, and draw what it scores.

        Clones are fitted on one part of the pairs and scored on the other, each with
        `n_seeds` seeds, whose scores are averaged. Explained variance and recall are
        those of the held-out part, means of both views and of both directions. The
        share of matches above noise is of the matches made on the part that was learnt
        from, as in :func:`~skxsae.model_selection.compare`. Stability is the mean over
        both views of :func:`~skxsae.metrics.stability_score` between seeds, and stands
        beside that of random directions,
        :func:`~skxsae.metrics.stability_chance`.

        Parameters
        ----------
        estimator : estimator
            PostHocAlignedSAE, PairedSAE, or an estimator of one view that learns from
            the rows of both, such as a TopKSAE. With `x_sae` and `y_sae` given, their
            `k` and `n_latents` are set.

        X : array-like of shape (n_samples, n_features)
            First view.

        y : array-like of shape (n_samples, n_features_y)
            Second view: row i is the partner of row i of X.

        k : int or sequence of int
            Numbers of active latents to try.

        n_latents : int or sequence of int
            Sizes of the dictionary to try.

        groups : array-like of shape (n_samples,), default=None
            Item that each pair belongs to. Groups are held out as a whole.

        test_size : float or int, default=0.25
            Share or number of the pairs, or groups, that are held out.

        n_seeds : int, default=2
            Number of fits at each setting. With 1 there is no stability.

        recall_k : int, default=10
            Number of answers that recall looks at.

        random_state : int, RandomState instance or None, default=None
            Seed of the split and of the seeds of the fits, which take the place of
            those of the estimator.

        ax : array-like of 4 matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        kind : {"lines", "heatmap"}, default="lines"
            Lines over k, or maps.

        cmap : str or matplotlib Colormap, default="viridis"
            Colours of a heat map.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``.

        Returns
        -------
        SelectionDisplay
            The display, drawn; its numbers are in ``results`` and ``fits``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If the estimator has no `k` and `n_latents`.

        ValueError
            If some `k` is larger than some `n_latents`, `n_seeds` is not positive, or
            `recall_k` is larger than the number of pairs, or groups, held out.

        Warns
        -----
        UserWarning
            If a tenth of the rows of a view or more are repeats and `groups` is None.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        _check_kind(kind)
        settings = _check_settings(estimator, k, n_latents, n_seeds)
        check_encoder(estimator, X, y, "estimator")
        random_state = check_random_state(random_state)
        train, (X_test, y_test, groups) = split_pairs(
            X, y, groups, test_size, random_state, stacklevel=4
        )
        items = items_of(X_test, groups)
        (recall_k,) = check_held_out_depths(recall_k, items, "recall_k")
        seeds = random_state.randint(2**31 - 1, size=n_seeds)
        rows, fits = [], []
        for size, n_active in settings:
            resized = _resized(estimator, n_active, size)
            test = X_test, y_test, items
            scores, stability = _scores(resized, train, test, seeds, recall_k)
            setting = {"k": n_active, "n_latents": size}
            fits += [setting | row for row in scores.to_dict("records")]
            rows.append(setting | scores.mean().to_dict() | stability)
        columns = ["k", "n_latents", *_TITLES, "stability_chance"]
        results = pd.DataFrame(rows)[columns]
        display = cls(results, recall_k=recall_k, fits=pd.DataFrame(fits))
        return display.plot(ax, kind=kind, cmap=cmap, line_kw=line_kw)


def _check_kind(kind):
    """Refuse a picture that there is none of."""
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} must be one of {list(_KINDS)}.")


def _check_settings(estimator, k, n_latents, n_seeds):
    """All pairs of a size and a number of active latents."""
    if not isinstance(n_seeds, Integral) or n_seeds < 1:
        raise ValueError(f"n_seeds={n_seeds!r} must be an int of at least 1.")
    if not _owners_of_sizes(estimator):
        raise TypeError(
            f"{type(estimator).__name__} has no n_latents and k to set: pass an "
            "autoencoder that is not frozen."
        )
    params = estimator.get_params(deep=False)
    if "x_sae" in params and (params["x_sae"] is None) != (params["y_sae"] is None):
        raise ValueError(
            "x_sae and y_sae must both be given, or neither: the sizes of one that is "
            "not there cannot be set."
        )
    k, n_latents = np.unique(k).tolist(), np.unique(n_latents).tolist()
    settings = list(product(n_latents, k))
    if not settings or max(k) > min(n_latents):
        raise ValueError(
            f"k={k} and n_latents={n_latents} must hold a number each, and "
            "no k that is larger than an n_latents: no more latents can be active than "
            "there are."
        )
    return settings


def _owners_of_sizes(estimator):
    """Prefixes of the parameters `n_latents` and `k` that have an effect."""
    params = estimator.get_params(deep=True)
    prefixes = [name[: -len("n_latents")] for name in params]
    return [
        prefix
        for prefix in prefixes
        if f"{prefix}n_latents" in params
        and f"{prefix}k" in params
        and params.get(f"{prefix}x_sae") is None
        and params.get(f"{prefix}y_sae") is None
    ]


def _resized(estimator, k, n_latents):
    """A clone with other sizes."""
    estimator = clone(estimator)
    for prefix in _owners_of_sizes(estimator):
        sizes = {f"{prefix}k": k, f"{prefix}n_latents": n_latents}
        estimator.set_params(**sizes)
    return estimator


def _seeded(estimator, seed):
    """A clone whose random states are drawn from one seed."""
    estimator, stream = clone(estimator), np.random.RandomState(seed)
    names = [
        name
        for name in sorted(estimator.get_params(deep=True))
        if name == "random_state" or name.endswith("__random_state")
    ]
    most = np.iinfo(np.int32).max
    return estimator.set_params(**{name: stream.randint(most) for name in names})


def _scores(estimator, train, test, seeds, recall_k):
    """Scores of each fit of one setting, and the stability between them."""
    X, y, groups = train
    scores, dictionaries = [], []
    for seed in seeds.tolist():
        # what it says is drawn
        with quiet("Only .* matches score above", "Nothing is matched"):
            fitted = fit_pairs(_seeded(estimator, seed), X, y, groups)
        above = share_above_noise(fitted, X, y, groups, seed)
        measures = measure(fitted, *test, k=[recall_k], tau=0.05, above_noise=above)
        values = {name: m.of_all() for name, m in measures.items()}
        recalls = [values[f"recall@{recall_k}_{way}"] for way in ("x_to_y", "y_to_x")]
        explained = [values[f"explained_variance_{view}"] for view in "xy"]
        scores.append(
            {
                "explained_variance": np.mean(explained),
                "matches_above_noise": values["matches_above_noise"],
                "recall": np.mean(recalls),
            }
        )
        dictionaries.append(_dictionaries(fitted))
    return pd.DataFrame(scores), _mean_stability(dictionaries, seeds[0])


def _dictionaries(estimator):
    """Directions of each view, or of both."""
    last, _ = last_step(estimator)
    if hasattr(last, "x_sae_"):
        return last.x_sae_.components_, last.y_sae_.components_
    return (last.components_,)


def _mean_stability(dictionaries, seed):
    """Mean over pairs of seeds and over views, and that of random directions."""
    pairs = [
        two for both in combinations(dictionaries, 2) for two in zip(*both, strict=True)
    ]
    if not pairs:
        return {"stability": np.nan, "stability_chance": np.nan}
    scores = [stability_score(*two) for two in pairs]
    chances = [stability_chance(*two, random_state=seed) for two in pairs]
    return {
        "stability": float(np.mean(scores)),
        "stability_chance": float(np.mean(chances)),
    }
