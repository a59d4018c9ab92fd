"""Curves of monosemanticity: the scores of latents, sorted."""

import numpy as np

from skxsae.inspection._paired_concepts import paired_concepts
from skxsae.inspection._plotting import (
    LINE_STYLES,
    by_name,
    check_view_names,
    import_pyplot,
    one_axes,
    style_of,
    tidy,
)
from skxsae.metrics import monosemanticity_score, multimodal_monosemanticity_score


class MonosemanticityDisplay:
    """Monosemanticity of the latents, in descending order.

    A line for each set of scores, such as those of two views or two methods, as in
    figure 8 of the heterogeneity paper [1]_. It is recommended to use `from_estimator`
    to make a display of one estimator.

    Parameters
    ----------
    scores : array-like of shape (n_latents,) or dict of them
        Scores, see :func:`skxsae.metrics.monosemanticity_score`; NaN for latents that
        have none. A dict has several by name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure that holds the axes.

    lines_ : list of matplotlib Line2D
        Curve of each set of scores.

    See Also
    --------
    skxsae.metrics.monosemanticity_score : Computes the scores.
    skxsae.metrics.multimodal_monosemanticity_score : The same across views.

    Notes
    -----
    Latents without score are left out, and a curve ends at the number of those that
    have one; the legend has both numbers. In the published curves they count as 0:
    ``missing="zero"``.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", figure 8.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.inspection import MonosemanticityDisplay
    >>> display = MonosemanticityDisplay({"x": [0.2, np.nan, 0.6]}).plot()
    >>> display.lines_[0].get_ydata()
    array([0.6, 0.2])
    >>> display.lines_[0].get_label()
    'x (2 of 3 latents, mean 0.40)'
    """

    def __init__(self, scores):
        self.scores = scores

    def plot(self, ax=None, *, missing="drop", line_kw=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        missing : {"drop", "zero"}, default="drop"
            Whether latents without score are left out or count as 0.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``, such as ``{"linewidth": 3}``.

        Returns
        -------
        MonosemanticityDisplay
            The display, with ``ax_``, ``figure_`` and ``lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If there is nothing to draw, no latent has a score, scores are not
            1-dimensional, or `missing` is another.
        """
        curves = {
            name: _sorted_scores(scores, name, missing)
            for name, scores in by_name(self.scores, what="scores").items()
        }
        longest = max(map(len, curves.values()))
        if not longest:
            raise ValueError(
                "No latent has a score, and there is nothing to draw: a latent must be "
                "active on two samples to have one."
            )
        self.ax_ = ax = one_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        self.lines_ = []
        given = by_name(self.scores, what="scores")
        for number, (name, values) in enumerate(curves.items()):
            style = {"color": style_of(number)["color"], "linewidth": 2}
            style |= {"linestyle": LINE_STYLES[number % len(LINE_STYLES)]}
            label = _label(name, values, len(given[name]))
            style |= {"label": label, **(line_kw or {})}
            rank = np.arange(1, len(values) + 1)
            self.lines_.append(ax.plot(rank, values, **style)[0])
        ax.set(xlabel="Latents, by score", ylabel="Monosemanticity score")
        ax.set_xlim(1, max(2, longest))
        low, high = ax.get_ylim()
        ax.set_ylim(min(0, low), max(1, high))
        tidy(ax)
        ax.legend(frameon=False)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        embeddings,
        *,
        y_embeddings=None,
        across=True,
        view_names=("x", "y"),
        ax=None,
        missing="drop",
        line_kw=None,
    ):
        """Score the concepts of a fitted estimator, and draw the curves.

        Parameters
        ----------
        estimator : PostHocAlignedSAE, PairedSAE or TopKSAE
            Fitted estimator. A :class:`~skxsae.TopKSAE` has one dictionary for both
            views, which then have its width.

        X : array-like of shape (n_samples, n_features)
            Samples of the first view.

        y : array-like of shape (n_samples_y, n_features_y)
            Samples of the second view.

        embeddings : array-like of shape (n_samples, n_features_out)
            Embeddings of the samples of `X` by an encoder other than the one that `X`
            is from.

        y_embeddings : array-like of shape (n_samples_y, n_features_out), default=None
            The same for `y`, in the same space. None means `embeddings`: row i of both
            views is then the same thing.

        across : bool, default=True
            Whether there is a third curve, of pairs of samples of the two views.

        view_names : tuple of str, default=("x", "y")
            What the views are called.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        missing : {"drop", "zero"}, default="drop"
            Whether latents without score are left out or count as 0.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``.

        Returns
        -------
        MonosemanticityDisplay
            The display, drawn; its numbers are in ``scores``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        TypeError
            If `estimator` is of another kind.

        ValueError
            If the numbers of rows differ, or an embedding is zero.
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        first, second = check_view_names(view_names)
        codes = paired_concepts(estimator, X, y).codes
        of_y = embeddings if y_embeddings is None else y_embeddings
        scores = {
            first: monosemanticity_score(codes["x"], embeddings),
            second: monosemanticity_score(codes["y"], of_y),
        }
        if across:
            scores[f"{first} with {second}"] = multimodal_monosemanticity_score(
                codes["x"], codes["y"], embeddings, of_y
            )
        return cls(scores).plot(ax, missing=missing, line_kw=line_kw)


def _sorted_scores(scores, name, missing):
    """Scores from the largest down, those that are missing as it was asked."""
    if missing not in ("drop", "zero"):
        raise ValueError(f"missing={missing!r} must be 'drop' or 'zero'.")
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(
            f"scores {name!r} must be 1-dimensional, one per latent, got "
            f"{scores.ndim} dimensions."
        )
    undefined = np.isnan(scores)
    scores = scores[~undefined] if missing == "drop" else np.nan_to_num(scores)
    return np.sort(scores)[::-1]


def _label(name, values, n_latents):
    """What a curve is of, how many of its latents have a score, and their mean."""
    mean = f", mean {values.mean():.2f}" if len(values) else ""
    words = f"{len(values):,} of {n_latents:,} latents{mean}"
    return f"{name} ({words})" if name else words
