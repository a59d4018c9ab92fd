"""Zero-shot classification: the class whose text code is closest."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._classification_result import ClassificationResult
from skxsae.metrics._codes import (
    SAME_LATENTS,
    check_codes,
    check_labels,
    check_width,
    unit_rows,
)
from skxsae.metrics._ranking import Items, count_ahead
from skxsae.metrics._recall import TIES, QueryRanks
from skxsae.metrics._support import count_fires


@validate_params(
    {"embeddings": ["array-like"], "labels": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def class_prototypes(embeddings, labels=None):
    """One embedding for each class from those of its templates.

    The embedding of each template, such as "a photo of a cat", is scaled to unit
    length; those of a class are averaged, and the average is scaled to unit length.

    Parameters
    ----------
    embeddings : array-like of shape (n_classes, n_templates, n_features) or \
            (n_texts, n_features)
        Embeddings of the texts, equally many for each class, or in rows.

    labels : array-like of shape (n_texts,), default=None
        Class of each row. Needed if, and only if, `embeddings` are in rows.

    Returns
    -------
    prototypes : ndarray of shape (n_classes, n_features)
        Unit rows in float64, in the order of the classes, or in the sorted order of the
        different `labels`. A class whose templates cancel out has a row of zeros.

    Raises
    ------
    ValueError
        If `labels` are missing or not needed, the numbers of rows differ, or there is
        no template.

    See Also
    --------
    zero_shot_accuracy : What the codes of prototypes are for.

    Examples
    --------
    >>> from skxsae.metrics import class_prototypes
    >>> class_prototypes([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [0.0, 4.0]]]).round(3)
    array([[0.707, 0.707],
           [0.   , 1.   ]])
    >>> class_prototypes([[0.0, 1.0], [2.0, 0.0], [0.0, 4.0]], ["dog", "cat", "dog"])
    array([[1., 0.],
           [0., 1.]])
    """
    embeddings = check_array(
        embeddings,
        dtype=np.float64,
        ensure_2d=False,
        allow_nd=True,
        input_name="embeddings",
    )
    if embeddings.ndim not in (2, 3) or (embeddings.ndim == 2) != (labels is not None):
        raise ValueError(
            f"embeddings have {embeddings.ndim} dimensions and labels are "
            f"{'missing' if labels is None else 'given'}: pass an array of shape "
            "(n_classes, n_templates, n_features) alone, or rows and the class of each."
        )
    if not embeddings.size:
        raise ValueError(
            f"embeddings has shape {embeddings.shape}: each class needs a template."
        )
    if labels is None:
        n_classes, n_templates, n_features = embeddings.shape
        classes, label = np.arange(n_classes), np.repeat(range(n_classes), n_templates)
        embeddings = embeddings.reshape(-1, n_features)
    else:
        check_consistent_length(embeddings, labels)
        classes, label = np.unique(check_labels(labels, "labels"), return_inverse=True)
    sums = np.zeros((len(classes), embeddings.shape[1]))
    np.add.at(sums, label, unit_rows(embeddings))
    return unit_rows(sums)


@validate_params(
    {
        "codes": ["array-like", "sparse matrix"],
        "class_codes": ["array-like", "sparse matrix"],
        "labels": ["array-like"],
        "classes": ["array-like", None],
        "k": [Interval(Integral, 1, None, closed="left")],
        "ties": [StrOptions(set(TIES))],
        "max_fire_rate": [Interval(Real, 0, 1, closed="both"), None],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "return_result": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def zero_shot_accuracy(
    codes,
    class_codes,
    labels,
    *,
    classes=None,
    k=1,
    ties="pessimistic",
    max_fire_rate=None,
    block_size=None,
    return_result=False,
):
    """Share of samples whose class is among the k with the most similar codes.

    Similarity is the cosine of the code of the sample and that of the class, such as
    the text code of its :func:`class_prototypes`. No classifier is trained.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the samples. Embeddings of a joint space do as well.

    class_codes : {array-like, sparse matrix} of shape (n_classes, n_latents)
        Codes of the classes, over the same latents.

    labels : array-like of shape (n_samples,)
        Class of each sample.

    classes : array-like of shape (n_classes,), default=None
        Label of each row of `class_codes`, all different. If None, ``0, 1, ...``.

    k : int, default=1
        Number of classes that are looked at.

    ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
        Rank of the true class among classes with the same score: the last of them, the
        first, or the expectation over a random order of them.

    max_fire_rate : float, default=None
        If given, latents that fire on a larger share of the samples are left out: the
        released code of [1]_ has 0.5. If None, all latents count.

    block_size : int, default=None
        Number of samples that are scored at once. It does not change the result.

    return_result : bool, default=False
        Whether to return a :class:`ClassificationResult`, with the hit of each sample
        and the protocol, and not the accuracy alone.

    Returns
    -------
    float or ClassificationResult
        Accuracy, between 0 and 1, or the result that has it as `accuracy`.

    Raises
    ------
    ValueError
        If the codes differ in width, a label is no class, there are fewer classes than
        `k`, or `max_fire_rate` leaves no latent.

    See Also
    --------
    linear_probe_accuracy : Accuracy of a classifier that is trained.

    Notes
    -----
    All-zero codes rank last, as sample and as class, whatever `ties`, and scores within
    1e-10 tie, as in :func:`recall_at_k_score`.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", section 7.

    Examples
    --------
    >>> from skxsae.metrics import zero_shot_accuracy
    >>> codes = [[2.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 3.0, 0.0]]
    >>> zero_shot_accuracy(codes, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 1, 0])
    0.6666666666666666
    """
    codes = check_codes(codes, "codes")
    class_codes = check_codes(class_codes, "class_codes")
    check_width(codes, class_codes, "codes", "class_codes", SAME_LATENTS)
    if sparse.issparse(codes) != sparse.issparse(class_codes):
        codes, class_codes = sparse.csr_array(codes), sparse.csr_array(class_codes)
    check_consistent_length(codes, labels)
    rows = _class_rows(labels, classes, class_codes.shape[0])
    if k > class_codes.shape[0]:
        raise ValueError(
            f"k={k} is larger than the number of classes, {class_codes.shape[0]}: "
            "every sample would be a hit. Use a smaller k."
        )
    if max_fire_rate is not None:
        # not against a product, whose rounding could exclude a rate that is reached
        kept = np.flatnonzero(count_fires(codes) / codes.shape[0] <= max_fire_rate)
        if not (len(kept) and (codes[:, kept] != 0).sum()):
            raise ValueError(
                f"max_fire_rate={max_fire_rate} leaves no latent that is active: use a "
                "higher rate, or None for all."
            )
        codes, class_codes = codes[:, kept], class_codes[:, kept]
    ranks = _class_ranks(codes, class_codes, rows, block_size)
    hits = np.empty(len(rows))
    hits[ranks.queries] = ranks.hits(k, ties=ties)
    protocol = {
        "task": "zero-shot classification",
        "similarity": "cosine",
        "k": int(k),
        "ties": ties,
        "max_fire_rate": max_fire_rate,
        "n_samples": len(rows),
        "n_classes": class_codes.shape[0],
        "n_latents": codes.shape[1],
    }
    result = ClassificationResult(hits, protocol)
    return result if return_result else result.accuracy


def _class_rows(labels, classes, n_classes):
    """Row of the class of each sample."""
    labels = check_labels(labels, "labels")
    if classes is None:
        classes = np.arange(n_classes)
    classes = check_labels(classes, "classes")
    if len(classes) != n_classes or len(np.unique(classes)) != n_classes:
        raise ValueError(
            f"classes must be {n_classes} different labels, one for each row of "
            f"class_codes, got {len(np.unique(classes))} different of {len(classes)}."
        )
    order = np.argsort(classes)
    place = np.searchsorted(classes, labels, sorter=order)
    rows = order[np.minimum(place, n_classes - 1)]
    unknown = np.flatnonzero(classes[rows] != labels)
    if len(unknown):
        raise ValueError(
            f"labels[{unknown[0]}] is {labels[unknown[0]]!r}, which is none of the "
            f"{n_classes} classes: pass the labels of the classes as classes."
        )
    return rows


def _class_ranks(codes, class_codes, rows, block_size):
    """Ranks of the true class of each sample, which is its one true answer."""
    n_samples, n_classes = len(rows), class_codes.shape[0]
    order = np.argsort(rows, kind="stable")
    samples = Items(unit_rows(codes[order]), rows[order], order, order, True)
    every = np.arange(n_classes)
    of_classes = Items(unit_rows(class_codes), every, every, every, True)
    counts, _ = count_ahead(samples, of_classes, block_size)
    return QueryRanks(
        order,
        counts.above,
        counts.tied_wrong,
        counts.tied_true,
        np.full(n_samples, n_classes),
    )
