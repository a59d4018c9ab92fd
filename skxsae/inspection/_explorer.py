"""A page to explore the concepts of a fitted estimator."""

import logging
import warnings
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import config_context
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae._concepts import (
    concept_views,
    names_by_concept,
    other_columns,
    strongest_rows,
)
from skxsae._validation import check_view, distinct_rows
from skxsae.embedding._entries import check_entries
from skxsae.inspection._concept_table import (
    Codes,
    bridge_partners,
    concept_numbers,
    direction_features,
    nearest_concepts,
    place_concepts,
)
from skxsae.inspection._explorer_page import (
    Items,
    plotly_program,
    shortened,
    to_columns,
    write_page,
)
from skxsae.inspection._naming import (
    N_NAMES,
    NoTermError,
    check_texts,
    terms_of_concepts,
)

logger = logging.getLogger("skxsae")

_N_NEIGHBOURS = 6
_N_QUERIES = 2000


@validate_params(
    {
        "path": [str, Path],
        "layout": [StrOptions({"tsne", "pca"}), "array-like"],
        "n_top": [Interval(Integral, 1, None, closed="left")],
        "max_concepts": [Interval(Integral, 1, None, closed="left")],
        "thumbnail_size": [Interval(Integral, 8, 1024, closed="both")],
        "view_names": [list, tuple, None],
        "device": [str, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def explore(
    estimator,
    X,
    y=None,
    *,
    images=None,
    texts=None,
    x_texts=None,
    names=None,
    queries=None,
    view_names=None,
    path="concepts.html",
    layout="tsne",
    n_top=8,
    max_concepts=10_000,
    thumbnail_size=96,
    device=None,
    random_state=0,
):
    """Write a page on which the concepts of a fitted estimator can be explored.

    One file, which needs no network: a map of the concepts, coloured by the share of
    either view; a list to search; and for each concept its name, the pictures and texts
    it is most active on, how surely its latents were matched, how far apart its two
    directions are, and its neighbours. Texts of a given list show which concepts are
    active in them.

    Parameters
    ----------
    estimator : PostHocAlignedSAE, PairedSAE or TopKSAE
        Fitted estimator.

    X : array-like of shape (n_samples, n_features)
        Samples of the first view.

    y : array-like of shape (n_samples, n_features_y), default=None
        Their partners. None for a :class:`TopKSAE`, which has one view.

    images : sequence of str, Path, PIL image or ndarray, default=None
        The picture of each row of `X`. Those that cannot be read are named in a
        warning, and their place is left empty.

    texts : array-like of shape (n_samples,) of str, default=None
        The text of each row of `y`; of `X`, if there is no `y`.

    x_texts : array-like of shape (n_samples,) of str, default=None
        The text of each row of `X`, where it is not a picture: in two languages, say.

    names : Series, DataFrame or array-like of shape (n_concepts,), default=None
        Names of the concepts, see :func:`name_latents`. None means the terms of
        `texts`, or else of `x_texts`, that they go with.

    queries : tuple of (texts, embeddings) or None, default=None
        Texts that can be looked up, and their embeddings in the view of `texts`. None
        means 2,000 of `texts`, or all if they are fewer.

    view_names : tuple of str or None, default=None
        What a sample of each view is called. None means "image" and "text"; a single
        view is called "image" if `images` are given, and "text" if not.

    path : str or Path, default="concepts.html"
        File to write; one that exists is replaced.

    layout : {"tsne", "pca"} or array-like of shape (n_concepts, 2), default="tsne"
        How concepts are placed: by t-SNE of their directions in both views, by two
        principal components of these, which takes less time, or as given.

    n_top : int, default=8
        Number of samples of each view that are shown for a concept.

    max_concepts : int, default=10_000
        Number of concepts that are shown. Of more, those with the largest energy stay.

    thumbnail_size : int, default=96
        Longer side of the pictures, in pixels.

    device : str or None, default=None
        Torch device of the encoder; None means that of the estimator.

    random_state : int, RandomState instance or None, default=0
        Seed of t-SNE.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ImportError
        If plotly, or Pillow for `images`, is not installed.

    ValueError
        If lengths or widths do not fit, or no concept is active on the samples.

    Warns
    -----
    UserWarning
        If pictures cannot be read, or there are more concepts than are shown.

    See Also
    --------
    name_latents : Names for concepts.
    skxsae.interventions.steer : Add a concept to embeddings.

    Notes
    -----
    A concept is of one view alone where the other has less than 5 % of its energy. One
    of both views whose match scores no higher than the noise floor has a kind of its
    own, "by chance": its two latents may have nothing to do with each other. Its
    bridge partners are the concepts of the other view that are active with it under
    another number, by the mean product of the two activations times the cosine of the
    two directions; without the cosine if the views differ in width.

    The page has only what it shows, which is listed in the user guide with its size.

    Examples
    --------
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import load_emoji
    >>> from skxsae.inspection import explore
    >>> data = load_emoji(subset="test")
    >>> sae = TopKSAE(n_latents=64, k=8, max_iter=20, random_state=0).fit(data.y)
    >>> page = explore(sae, data.y, texts=data.texts,
    ...                path=getfixture("tmp_path") / "concepts.html")
    >>> page.stat().st_size > 1e6
    True
    """
    plotly = plotly_program()  # before a minute of work, if it is missing
    views = concept_views(estimator)
    data = _check_data(views, X, y)
    names_of_views = _named_views(data, view_names, images)
    texts, x_texts = (
        None if given is None else check_texts(given, name)
        for given, name in ((texts, "texts"), (x_texts, "x_texts"))
    )
    if images is not None:
        images = check_entries(images, "paths, PIL images or arrays", "images")
    _check_lengths(data["x"], images=images, texts=texts, x_texts=x_texts)
    if not isinstance(layout, str):
        layout = _check_layout(layout, len(views["x"].latents))
    if names is not None:
        names = names_by_concept(names, len(views["x"].latents))
    path = _check_path(path)
    queries = _check_queries(queries)
    codes = Codes.of(views, data, device)
    last = list(data)[-1]
    queries = _queries(queries, texts, codes.codes[last], views[last], device)
    table = _with_matches(concept_numbers(codes), estimator)
    if names is None:
        names = names_by_concept(_terms_of(codes, texts, x_texts), len(table))
    table = table.join(names.filter(["name", "confidence", "also"]))
    n_active = int((table["energy"] > 0).sum())
    n_concepts = int(np.any([view.present for view in views.values()], axis=0).sum())
    shown = _strongest(table["energy"].to_numpy(), max_concepts)
    table, codes = table.iloc[shown], codes.of_concepts(shown)
    features = direction_features(codes)
    items = Items(images, texts, x_texts, thumbnail_size)
    top = {name: _top_items(name, codes, data, items, n_top) for name in data}
    page = {
        "views": names_of_views,
        "concepts": {"number": shown.tolist(), **to_columns(table)},
        "other_columns": {int(j): int(i) for i, j in other_columns(estimator).items()},
        "places": _places(layout, features, shown, random_state),
        "top": top,
        "items": items.to_dict(),
        "nearest": nearest_concepts(features, _N_NEIGHBOURS),
        "bridges": bridge_partners(codes, _N_NEIGHBOURS) if len(data) == 2 else None,
        "one_space": codes.share_a_space,
        "queries": queries and _active_concepts(queries[0], queries[1][:, shown]),
        "n_samples": codes.codes["x"].shape[0],
        "n_silent": n_concepts - n_active,
        "n_left_out": n_active - len(shown),
    }
    write_page(path, page, plotly)
    items.warn()
    n_bytes = path.stat().st_size
    logger.info("%s: %d concepts, %.1f MB", path, len(shown), n_bytes / 1e6)
    return path


def _check_data(views, X, y):
    """Samples by view."""
    if (y is not None) != ("y" in views):
        raise ValueError(
            f"y is {'given' if y is not None else 'None'}, but the estimator has "
            f"{len(views)} view{'s' * (len(views) > 1)}."
        )
    given = {"x": X} if y is None else {"x": X, "y": y}
    check_consistent_length(*given.values())
    return {
        name: check_view(views[name].sae, view, reset=False)
        for name, view in given.items()
    }


def _check_lengths(X, **others):
    """Refuse what does not have an entry for each row."""
    for name, values in others.items():
        if values is not None and len(values) != len(X):
            raise ValueError(
                f"{name} has {len(values)} entries, but there are {len(X)} rows: "
                "repeat an image that has several texts."
            )


def _check_layout(layout, n_concepts):
    """Places of all concepts as an array."""
    places = np.asarray(layout, dtype=np.float64)
    if places.shape != (n_concepts, 2):
        raise ValueError(
            f"layout has shape {places.shape}, but a place is needed for each concept: "
            f"shape ({n_concepts}, 2)."
        )
    if not np.isfinite(places).all():
        raise ValueError("layout has a place that is NaN or infinite.")
    return places


def _check_path(path):
    """The path of the page, in a folder that is there."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r} is in a folder that does not exist.")
    return path


def _check_queries(queries):
    """Texts and embeddings of one length, or None."""
    if queries is None:
        return None
    if not isinstance(queries, tuple) or len(queries) != 2:
        raise ValueError(
            "queries must be a tuple (texts, embeddings), such as (words, "
            f"encoder.transform(words)), got a {type(queries).__name__}."
        )
    texts, embeddings = queries
    check_consistent_length(texts, embeddings)
    return check_texts(texts, "queries"), embeddings


def _named_views(data, view_names, images):
    """What each view is called."""
    if view_names is None:
        alone = ["text"] if images is None else ["image"]
        view_names = ["image", "text"] if len(data) == 2 else alone
    if len(view_names) != len(data) or len(set(view_names)) < len(view_names):
        raise ValueError(f"view_names={view_names!r} must be {len(data)} other names.")
    return dict(zip(data, map(str, view_names), strict=True))


def _with_matches(table, estimator):
    """The table with what is known of the matches; those by chance are a kind."""
    if not hasattr(estimator, "matches_"):
        return table
    with_null = not np.isnan(estimator.matcher_.noise_floor_)
    columns = ["margin", "above_noise"] if with_null else ["margin"]
    matches = estimator.matches_[columns].set_axis(estimator._matched_columns("x"))
    table = table.join(matches)
    if with_null:
        by_chance = (table["kind"] == "shared") & table["above_noise"].eq(False)
        table.loc[by_chance, "kind"] = "chance"
    return table


def _terms_of(codes, texts, x_texts):
    """Names by the terms of the texts, those of the last view first."""
    names = pd.DataFrame()
    for view in reversed(codes.codes):
        captions = x_texts if view == "x" and x_texts is not None else texts
        if captions is None:
            continue
        try:
            found = terms_of_concepts(codes.codes[view], captions, None, N_NAMES)
        except NoTermError:
            continue
        names = names.combine_first(found[found["name"].notna()])
    return names if len(names) else None


def _strongest(energies, n):
    """The concepts that are active, of more than `n` those of the largest energy."""
    active = np.flatnonzero(energies > 0)
    if not len(active):
        raise ValueError("No concept is active on these samples.")
    if len(active) > n:
        warnings.warn(
            f"{len(active)} concepts are active, and the page shows the {n} with the "
            "largest energy: raise max_concepts to see more.",
            stacklevel=4,  # that of the caller of explore
        )
        active = np.sort(active[np.argsort(-energies[active], kind="stable")[:n]])
    return active


def _top_items(view, codes, data, items, n):
    """For each concept the items where it is most active, and how much."""
    by_concept = sparse.csc_array(codes.codes[view])
    _, owners = distinct_rows(data[view], np.zeros(len(data[view])))
    add = items.with_picture if view == "x" else items.number
    return [
        [[add(row), float(f"{value:.3g}")] for row, value in zip(*top, strict=True)]
        for top in strongest_rows(by_concept, owners, n)
    ]


def _places(layout, features, shown, random_state):
    """Coordinates of the concepts that are shown, as a list for either axis."""
    if isinstance(layout, str):
        with config_context(transform_output="default"):
            places = place_concepts(features, layout, random_state)
    else:
        places = layout[shown]
    return np.round(places.T.astype(float), 3).tolist()


def _queries(queries, texts, codes, view, device):
    """Texts to look up, and their codes in a view of the concepts."""
    if queries is not None:
        return queries[0], view.codes(queries[1], device)
    if texts is None:
        return None
    first = np.flatnonzero(~pd.Series(texts).duplicated())
    evenly = np.linspace(0, len(first) - 1, min(len(first), _N_QUERIES))
    chosen = first[evenly.astype(int)]
    return texts[chosen], codes[chosen]


def _active_concepts(texts, codes):
    """For each text the concepts that are active in it, the strongest first."""
    found = []
    for start, stop in zip(codes.indptr, codes.indptr[1:], strict=False):
        concepts, values = codes.indices[start:stop], codes.data[start:stop]
        order = np.argsort(-values, kind="stable")
        found.append([[int(concepts[i]), float(f"{values[i]:.3g}")] for i in order])
    return {"text": [shortened(text) for text in texts], "concepts": found}
