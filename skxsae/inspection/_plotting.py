"""What the displays share: matplotlib, axes, and colours that all can tell apart."""

import numpy as np

# of Okabe and Ito, told apart with any kind of colour vision; yellow is hard to see
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
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


def one_axes(caller, ax):
    """The given axes, or those of a new figure."""
    plt = import_pyplot(caller)
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax


def panel_axes(caller, ax, n_panels, *, size=(3.6, 3.4), sharex=False):
    """An array of axes for the panels, the given ones or a row in a new figure."""
    plt = import_pyplot(caller)
    if ax is None:
        width, height = size
        figsize = (width * n_panels + 0.6, height)
        options = {"figsize": figsize, "layout": "constrained", "sharex": sharex}
        return plt.subplots(1, n_panels, squeeze=False, **options)[1].ravel()
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
    """Colour and marker of the n-th of several things in one picture."""
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[number % len(MARKERS)],
    }


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
