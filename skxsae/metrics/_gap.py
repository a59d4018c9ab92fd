"""How far apart the embeddings of two views lie in one space: the modality gap."""

from importlib.util import find_spec
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._validation import check_groups
from skxsae.metrics._codes import (
    ONE_SPACE,
    check_paired_codes,
    check_views,
    paired_cosines,
    row_norms,
    unit_rows,
)
from skxsae.metrics._repeats import (
    first_equal_rows,
    is_much_repeated,
    warn_of_repeats,
)
from skxsae.metrics._transport import exact_plan

_VIEWS = {"X": ["array-like", "sparse matrix"], "y": ["array-like", "sparse matrix"]}
_SIMPLEX_ITERATIONS = 10**8
_IN_TWO_FOLDS = (
    "a classifier is tested on rows that it was trained on. Pass groups, the item of "
    "each pair."
)
_IN_TWO_FOLDS_UNPAIRED = (
    "a classifier is tested on rows that it was trained on. Pass each row once, as "
    "groups need equally many rows of X and of y."
)
_NO_DISTANCE = "a row has no distance to itself. Pass groups, the item of each pair."


@validate_params(_VIEWS, prefer_skip_nested_validation=True)
def mean_difference_gap(X, y):
    """Distance between the means of two views.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        First view, as it is: lengths are not changed.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_features)
        Second view, in the same space. Rows need not be paired.

    Returns
    -------
    gap : float
        Euclidean distance, in the units of the views.

    Raises
    ------
    ValueError
        If the views differ in width.

    See Also
    --------
    modality_gap_report : All measures of the gap at once.

    References
    ----------
    .. [1] W. Liang, Y. Zhang, Y. Kwon, S. Yeung and J. Zou, "Mind the gap:
       understanding the modality gap in multi-modal contrastive representation
       learning", NeurIPS 2022.

    Examples
    --------
    >>> from skxsae.metrics import mean_difference_gap
    >>> mean_difference_gap([[1.0, 0.0], [3.0, 0.0]], [[2.0, 4.0]])
    4.0
    """
    X, y = check_views(X, y)
    return float(np.linalg.norm(_mean(X) - _mean(y)))


@validate_params(
    {
        **_VIEWS,
        "n_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def wasserstein_gap(X, y, *, n_samples=10_000, random_state=0):
    """Exact Wasserstein distance between two views, with the cost ``1 - cos``.

    Equal means do not make it small: it compares the distributions [1]_.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples_x, n_features)
        First view.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_features)
        Second view, in the same space. Rows need not be paired.

    n_samples : int, default=10_000
        Number of rows that are drawn at random from each view that has more, from each
        on its own. If None, all.

    random_state : int, RandomState instance or None, default=0
        Seed of the rows that are drawn.

    Returns
    -------
    gap : float
        Mean cost of the cheapest transport, between 0 and 2. All-zero rows have a cost
        of 1 to all others.

    Raises
    ------
    ImportError
        If the views end up with different numbers of rows and POT is not installed.

    ValueError
        If the views differ in width.

    See Also
    --------
    modality_gap_report : All measures of the gap at once.

    Notes
    -----
    Equally many rows of equal weight have an optimal transport that is a one-to-one
    assignment, which SciPy finds. For different numbers of rows, or where a tenth of
    those of a view or more are repeats, the linear programme is solved by POT, with
    rows that are repeated taken once and weighted; without POT, repeated rows are
    assigned one by one, which is slow. The costs of 10,000 rows take 763 MiB, and those
    of POT's plan as much again.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix I.

    Examples
    --------
    >>> from skxsae.metrics import wasserstein_gap
    >>> wasserstein_gap([[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 1.0]])
    0.5
    """
    X, y = check_views(X, y)
    rng = check_random_state(random_state)
    X, y = _drawn(X, n_samples, rng), _drawn(y, n_samples, rng)
    equally_many = X.shape[0] == y.shape[0]
    if equally_many and not (
        _has_pot() and (_has_many_repeats(X) or _has_many_repeats(y))
    ):
        cost = _cosine_costs(X, y)
        return float(cost[linear_sum_assignment(cost)].mean())
    # equal rows share a place in the plan
    (X, n_x), (y, n_y) = _distinct(X), _distinct(y)
    cost = _cosine_costs(X, y)
    caller = "wasserstein_gap on views with different numbers of rows"
    advice = "Use a smaller n_samples"
    plan = exact_plan(
        n_x / n_x.sum(), n_y / n_y.sum(), cost, caller, advice, _SIMPLEX_ITERATIONS
    )
    return float(np.einsum("ij,ij->", plan, cost))


@validate_params(
    {
        **_VIEWS,
        "groups": ["array-like", None],
        "cv": [Interval(Integral, 2, None, closed="left"), None],
        "C": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def linear_separability(
    X, y, *, groups=None, cv=5, C=1.0, max_iter=1000, random_state=0
):
    """Accuracy of a logistic regression that tells the views apart.

    Features are standardised and both views weigh the same, so that neither the unit
    nor the number of rows matters. The paper does not say whether it predicts rows that
    were trained on [1]_; by default they are held out.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        First view.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_features)
        Second view, in the same space. If it has as many rows as `X`, row i of both is
        taken for a pair, which no fold splits.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to, which no fold splits. For views with equally
        many rows only.

    cv : int or None, default=5
        Number of folds of the cross-validation. None means the accuracy on the rows
        that were trained on.

    C : float, default=1.0
        Inverse strength of the L2 penalty.

    max_iter : int, default=1000
        Largest number of iterations of the solver.

    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Returns
    -------
    accuracy : float
        Mean of the accuracies on the two views: 0.5 if they cannot be told apart
        linearly, 1 if they can be without an error.

    Raises
    ------
    ValueError
        If the views differ in width, or there are fewer pairs or groups than folds.

    Warns
    -----
    UserWarning
        If a tenth of the rows of a view or more are repeats and `groups` is None.

    See Also
    --------
    modality_gap_report : All measures of the gap at once.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix L.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import linear_separability
    >>> X = np.random.default_rng(0).standard_normal((100, 4))
    >>> linear_separability(X + 3, X - 3)
    1.0
    """
    X, y = check_views(X, y)
    if groups is None and cv is not None:
        paired = X.shape[0] == y.shape[0]
        consequence = _IN_TWO_FOLDS if paired else _IN_TWO_FOLDS_UNPAIRED
        warn_of_repeats({"X": X, "y": y}, consequence)
    folds = _fold_groups(X.shape[0], y.shape[0], groups)
    rows = sparse.vstack([X, y], "csr") if sparse.issparse(X) else np.vstack([X, y])
    is_y = np.repeat([0, 1], [X.shape[0], y.shape[0]])
    probe = make_pipeline(
        StandardScaler(with_mean=not sparse.issparse(rows)),
        LogisticRegression(C=C, class_weight="balanced", max_iter=max_iter, tol=1e-6),
    )
    if cv is None:
        predicted = probe.fit(rows, is_y).predict(rows)
    else:
        _check_folds(folds, cv)
        splitter = GroupKFold(cv, shuffle=True, random_state=random_state)
        predicted = cross_val_predict(probe, rows, is_y, groups=folds, cv=splitter)
    return float(balanced_accuracy_score(is_y, predicted))


@validate_params(
    {**_VIEWS, "groups": ["array-like", None]}, prefer_skip_nested_validation=True
)
def relative_modality_gap(X, y, *, groups=None):
    """Distance of matched pairs relative to the distances inside the views (RMG).

    ``p / (p + (w_x + w_y) / 2)`` with p the mean cosine distance of matched pairs and
    w the mean cosine distance of two different rows of one view [1]_. The sums have a
    closed form, so that no two rows are compared.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        First view.

    y : {array-like, sparse matrix} of shape (n_samples, n_features)
        Second view, row i paired with row i of `X`.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to, such as the image of a caption. Two rows of one
        item are left out of w, as an image that is repeated for each of its captions
        has no distance to itself. If None, every pair is an item of its own.

    Returns
    -------
    gap : float
        0 if matched pairs point in one direction, 0.5 if their distance is that of any
        two rows of a view, 1 if every view points in one direction and the two differ.
        NaN where there is no distance at all.

    Raises
    ------
    ValueError
        If the views differ in shape, or there are fewer than two items.

    Warns
    -----
    UserWarning
        If a tenth of the rows of a view or more are repeats and `groups` is None.

    See Also
    --------
    modality_gap_report : All measures of the gap at once.

    Notes
    -----
    The source halves all distances, which cancels, and compares different images but
    all captions, those of one image included.

    References
    ----------
    .. [1] S. Schrodi, D. T. Hoffmann, M. Argus, V. Fischer and T. Brox, "Two effects,
       one trigger: on the modality gap, object bias, and information imbalance in
       contrastive vision-language models", ICLR 2025.

    Examples
    --------
    >>> from skxsae.metrics import relative_modality_gap
    >>> relative_modality_gap([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]])
    0.5
    """
    X, y = check_paired_codes(X, y, ONE_SPACE)
    n_samples = X.shape[0]
    if groups is None:
        warn_of_repeats({"X": X, "y": y}, _NO_DISTANCE)
    items = np.arange(n_samples) if groups is None else check_groups(groups, n_samples)
    if n_samples == 0 or (items == items[0]).all():
        raise ValueError(
            f"X has {n_samples} rows of a single item: distances inside a view need at "
            "least two items. Pass more pairs."
        )
    apart = 1.0 - float(paired_cosines(X, y).mean())
    inside = (_mean_distance(X, items) + _mean_distance(y, items)) / 2
    # rounding of rows that are equal
    apart, inside = (0.0 if abs(d) < 1e-12 else d for d in (apart, inside))
    return apart / (apart + inside) if apart + inside > 0 else np.nan


def _has_pot():
    """Whether POT can be imported."""
    return find_spec("ot") is not None


def _has_many_repeats(X):
    """Whether repeats are so many that taking each row once pays off."""
    return is_much_repeated(X.shape[0], len(np.unique(first_equal_rows(X))))


def _distinct(X):
    """Rows that differ, and how often each is there."""
    first, counts = np.unique(first_equal_rows(X), return_counts=True)
    return X[first], counts.astype(np.float64)


def _mean(X):
    """Mean row in float64."""
    return np.asarray(X.astype(np.float64).mean(axis=0)).ravel()


def _drawn(X, n_samples, rng):
    """That many rows at random, in their order."""
    if n_samples is None or X.shape[0] <= n_samples:
        return X
    return X[np.sort(rng.permutation(X.shape[0])[:n_samples])]


def _cosine_costs(X, y):
    """Cost 1 - cos of every row of X with every row of y."""
    cost = unit_rows(X) @ unit_rows(y).T
    cost = cost.toarray() if sparse.issparse(cost) else cost
    np.subtract(1.0, cost, out=cost)
    return np.clip(cost, 0.0, 2.0, out=cost)


def _fold_groups(n_x, n_y, groups):
    """Item of each row of the stacked views: pairs share one."""
    if n_x != n_y:
        if groups is not None:
            raise ValueError(
                f"groups are of pairs, but X has {n_x} rows and y has {n_y}. Pass "
                "paired rows, or groups=None."
            )
        return np.arange(n_x + n_y)
    items = np.arange(n_x) if groups is None else check_groups(groups, n_x)
    return np.append(items, items)


def _check_folds(folds, cv):
    """There is an item for each fold."""
    n_items = len(np.unique(folds))
    if n_items < cv:
        raise ValueError(
            f"cv={cv} is larger than the number of pairs or groups, {n_items}. Use "
            "fewer folds, or cv=None for the accuracy on the training rows."
        )


def _mean_distance(X, items):
    """Mean cosine distance of two rows of different items."""
    unit = unit_rows(X)
    sums = (
        sparse.csr_array(
            (np.ones(len(items)), (items, np.arange(len(items)))),
            shape=(items.max() + 1, len(items)),
        )
        @ unit
    )  # (n_items, n_features)
    counts = np.bincount(items).astype(np.float64)
    total = np.square(np.asarray(sums.sum(axis=0))).sum()
    n_pairs = counts.sum() ** 2 - np.square(counts).sum()
    return float(1.0 - (total - np.square(row_norms(sums)).sum()) / n_pairs)
