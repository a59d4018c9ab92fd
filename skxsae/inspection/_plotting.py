"""What the displays share: matplotlib, axes, and colours that all can tell apart."""

from numbers import Integral

import numpy as np

# of Okabe and Ito, told apart with any kind of colour vision; yellow is hard to see
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES = ("-", "--", ":", "-.")
_MOST_COLUMNS = 3
X_COLOR, Y_COLOR, BOTH_COLOR = COLORS[0], COLORS[1], "#808080"


def import_pyplot(caller):
    """Matplotlib's pyplot, or an error that names the extra to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib: pip install 'skxsae[plot]'."
        ) from error
    return plt


def one_axes(caller, ax, figsize=None):
    """The given axes, or those of a new figure."""
    plt = import_pyplot(caller)
    if ax is None:
        _, ax = plt.subplots(layout="constrained", figsize=figsize)
    return ax


def panel_axes(caller, ax, n_panels, *, size=(3.6, 3.4), sharex=False):
    """An array of axes for the panels, the given ones or rows in a new figure."""
    plt = import_pyplot(caller)
    if ax is None:
        n_rows = -(-n_panels // _MOST_COLUMNS)
        n_columns = -(-n_panels // n_rows)
        figsize = (size[0] * n_columns + 0.6, size[1] * n_rows)
        options = {"figsize": figsize, "layout": "constrained", "sharex": sharex}
        _, axes = plt.subplots(n_rows, n_columns, squeeze=False, **options)
        for rest in axes.ravel()[n_panels:]:
            rest.remove()
        axes = axes.ravel()[:n_panels]
        for panel in axes:  # shared axes have numbers in the last row only
            panel.tick_params(labelbottom=True)
        return axes
    axes = np.ravel(np.asarray(ax, dtype=object))
    if len(axes) != n_panels:
        raise ValueError(
            f"ax has {len(axes)} axes, but there are {n_panels} panels: give one for "
            "each, or None for a new figure."
        )
    return axes


def tidy(ax):
    """Leave out the lines of the frame that say nothing."""
    ax.spines[["top", "right"]].set_visible(False)


def style_of(number):
    """Colour, marker and dashes of the n-th of several things in one picture.

    Colours come again after seven things, then with other markers and dashes.
    """
    turn = number // len(COLORS)
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[(number + turn) % len(MARKERS)],
        "linestyle": LINE_STYLES[turn % len(LINE_STYLES)],
    }


def check_n_bins(n_bins):
    """A positive number of bins."""
    if not isinstance(n_bins, Integral) or n_bins < 1:
        raise ValueError(f"n_bins={n_bins!r} must be an int of at least 1.")
    return int(n_bins)


def modality_colormap():
    """Orange for the second view alone, grey for both, blue for the first alone."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("modality", [Y_COLOR, BOTH_COLOR, X_COLOR])


def check_view_names(view_names):
    """A name for each of the two views."""
    names = tuple(view_names)
    if isinstance(view_names, str) or len(names) != 2:
        raise ValueError(
            f"view_names={view_names!r} must be two names, such as ('image', 'text')."
        )
    return names


def by_name(given, default="", *, what):
    """Things by the name they have in the legend; one alone goes without."""
    if not isinstance(given, dict):
        return {default: given}
    if not given:
        raise ValueError(f"{what} is empty: give at least one by name.")
    return given
