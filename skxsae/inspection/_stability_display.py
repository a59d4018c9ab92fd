"""The picture of which directions come back in another fit."""

import numpy as np

from skxsae.inspection._plotting import by_name, one_axes, style_of, tidy
from skxsae.metrics import stability_curve

_LABELS = {
    "cosine": "Cosine with the matched direction",
    "angle": "Angle to the matched direction (rad)",
}


class StabilityDisplay:
    """Agreement of two dictionaries over the energy rank of their latents.

    A dot for each pair of matched directions, and as a line the mean of the pairs up to
    that rank, which ends at the stability score. A dotted line is the same of random
    directions: the best matching of many is well above 0, and only what is above that
    line has come back. It is recommended to use `from_dictionaries` to make a display
    of one pair of fits.

    Parameters
    ----------
    curves : DataFrame or dict of DataFrame
        What :func:`skxsae.metrics.stability_curve` returned: indexed by rank, with the
        columns "cosine" or "angle", and "mean"; and "chance", if it was called with a
        `null`. A dict has several by name, such as those of two methods.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.

    figure_ : matplotlib Figure
        Figure that holds the axes.

    points_ : list of matplotlib PathCollection
        Pairs of each curve.

    lines_ : list of matplotlib Line2D
        Mean up to each rank, of each curve.

    chance_lines_ : list of matplotlib Line2D
        The same for random directions, of each curve that has "chance".

    See Also
    --------
    skxsae.metrics.stability_curve : Computes the curve.

    Examples
    --------
    >>> from skxsae.inspection import StabilityDisplay
    >>> first, second = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 4.0]]
    >>> display = StabilityDisplay.from_dictionaries(first, second, [0.1, 0.5])
    >>> display.lines_[0].get_ydata()
    array([1. , 0.8])
    """

    def __init__(self, curves):
        self.curves = curves

    def plot(self, ax=None, *, scatter_kw=None, line_kw=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        scatter_kw : dict, default=None
            Keywords of all calls of ``ax.scatter``, such as ``{"s": 1}``.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``, such as ``{"linewidth": 3}``.

        Returns
        -------
        StabilityDisplay
            The display, with ``ax_``, ``figure_``, ``points_``, ``lines_`` and
            ``chance_lines_``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If there is nothing to draw, a column is missing, or one curve is of cosines
            and another of angles.
        """
        curves = by_name(self.curves, what="curves")
        form = _form(curves)
        self.ax_ = ax = one_axes(f"{type(self).__name__}.plot", ax)
        self.figure_ = ax.figure
        self.points_, self.lines_, self.chance_lines_ = [], [], []
        for number, (name, curve) in enumerate(curves.items()):
            style = style_of(number)
            color = style["color"]
            rank = np.asarray(curve.index)
            options = {"s": 14, "color": color, "alpha": 0.5, "linewidths": 0}
            options |= {"label": "_"} | (scatter_kw or {})
            self.points_.append(ax.scatter(rank, curve[form], **options))
            options = {"color": color, "linewidth": 2, "label": _label(name, curve)}
            options |= {"linestyle": style["linestyle"], **(line_kw or {})}
            self.lines_.append(ax.plot(rank, curve["mean"], **options)[0])
            if "chance" in curve:
                options = {"color": color, "linewidth": 1.2, "linestyle": ":"}
                options |= {"label": "_" if name else "random directions"}
                self.chance_lines_ += ax.plot(rank, curve["chance"], **options)
        self._annotate(form, named=isinstance(self.curves, dict))
        return self

    def _annotate(self, form, named):
        """Set labels, scale and legend."""
        ax = self.ax_
        ax.set_xscale("log")
        ax.set(xlabel="Rank by energy", ylabel=_LABELS[form])
        low, high = ax.get_ylim()
        ax.set_ylim(min(0, low), max(1, high) if form == "cosine" else high)
        tidy(ax)
        title = "Mean up to the rank" if named else ""
        if named and self.chance_lines_:
            title += "\n(dotted: random directions)"
        ax.legend(title=title or None, frameon=False, loc="best")

    @classmethod
    def from_dictionaries(
        cls,
        components,
        other,
        energies,
        *,
        other_energies=None,
        form="cosine",
        null="moments",
        random_state=0,
        ax=None,
        scatter_kw=None,
        line_kw=None,
    ):
        """Match the directions of two fits, and draw how well they agree.

        Parameters
        ----------
        components : array-like of shape (n_latents, n_features)
            Directions of one run. Rows of zeros or NaN are absent latents.

        other : array-like of shape (n_latents_other, n_features)
            Directions of another run: with another seed, or on other data.

        energies : array-like of shape (n_latents,)
            Energy of each latent of the first run, see :func:`skxsae.metrics.energy`.

        other_energies : array-like of shape (n_latents_other,), default=None
            Energies of the other run. If given, the energy of a pair is the mean.

        form : {"cosine", "angle"}, default="cosine"
            Cosine or angle in radians.

        null : {"moments", "uniform"} or None, default="moments"
            Which random directions are drawn for comparison, see
            :func:`skxsae.metrics.stability_chance`. None does without them, and takes
            half the time.

        random_state : int, RandomState instance or None, default=0
            Seed of the random directions.

        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a new figure.

        scatter_kw : dict, default=None
            Keywords of all calls of ``ax.scatter``.

        line_kw : dict, default=None
            Keywords of all calls of ``ax.plot``.

        Returns
        -------
        StabilityDisplay
            The display, drawn; its numbers are in ``curves``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        ValueError
            If the widths differ, a dictionary has no direction, or energies are
            negative.
        """
        curve = stability_curve(
            components,
            other,
            energies,
            other_energies=other_energies,
            form=form,
            null=null,
            random_state=random_state,
        )
        return cls(curve).plot(ax, scatter_kw=scatter_kw, line_kw=line_kw)


def _label(name, curve):
    """Name of a curve and where it ends, beside where random directions end."""
    if not name:
        return "mean up to the rank"
    chance = f" (random {curve['chance'].iloc[-1]:.2f})" if "chance" in curve else ""
    return f"{name}: {curve['mean'].iloc[-1]:.2f}{chance}"


def _form(curves):
    """Whether all curves are of cosines or all of angles."""
    forms = {
        next((form for form in _LABELS if form in curve), None)
        for curve in curves.values()
        if "mean" in curve
    }
    if len(forms) != 1 or None in forms:
        raise ValueError(
            "curves must all have the columns 'cosine' and 'mean', or all 'angle' and "
            "'mean': give what stability_curve returned with one form."
        )
    return forms.pop()
