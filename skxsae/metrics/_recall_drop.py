"""What retrieval loses when a part of the codes is taken away."""

from numbers import Integral

from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import check_paired_codes
from skxsae.metrics._recall import DIRECTIONS, TIES
from skxsae.metrics._retrieval import rank_pairs, warn_if_repeated

_ROWS = ["array-like", "sparse matrix"]


@validate_params(
    {
        "X": _ROWS,
        "y": _ROWS,
        "X_kept": _ROWS,
        "y_kept": _ROWS,
        "k": [Interval(Integral, 1, None, closed="left")],
        "direction": [StrOptions(set(DIRECTIONS))],
        "groups": ["array-like", None],
        "ties": [StrOptions(set(TIES))],
        "count_true_ties": ["boolean"],
        "candidates": [Interval(Integral, 1, None, closed="left"), None],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def recall_drop_at_k(
    X,
    y,
    X_kept,
    y_kept,
    *,
    k=1,
    direction="mean",
    groups=None,
    ties="pessimistic",
    count_true_ties=True,
    candidates=None,
    block_size=None,
):
    """Recall of full reconstructions minus recall of what was kept of them.

    With the latents of a single view set to zero in what was kept, a drop near 0 says
    that the latents of both views carry all that retrieval needs [1]_.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Full reconstructions, or codes, of the first view.

    y : {array-like, sparse matrix} of shape (n_samples, n_features)
        Those of the second view, row i paired with row i of `X`.

    X_kept : {array-like, sparse matrix} of shape (n_samples, n_features)
        What was kept of the first view.

    y_kept : {array-like, sparse matrix} of shape (n_samples, n_features)
        What was kept of the second view.

    k : int, default=1
        Number of answers that are looked at.

    direction : {"x_to_y", "y_to_x", "mean"}, default="mean"
        View of the queries and view of the answers.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to, see :func:`recall_at_k_score`.

    ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
        How ties are ranked.

    count_true_ties : bool, default=True
        Whether true answers that tie with the best one stand before it.

    candidates : int, default=None
        If given, retrieve inside batches of this many pairs. The paper's is 256.

    block_size : int, default=None
        Number of queries that are scored at once. It does not change the result.

    Returns
    -------
    drop : float
        Between -1 and 1; negative if what was kept retrieves better.

    Raises
    ------
    ValueError
        If the views differ in shape, or there are too few pairs.

    Warns
    -----
    UserWarning
        If a tenth of the rows of `X` or `y` or more are repeats and `groups` is None.

    See Also
    --------
    recall_at_k_score : The recall, with all that is said of its options.
    skxsae.interventions.ModalityFilter : Zeroes the latents of a single view.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import recall_drop_at_k
    >>> codes = np.eye(4)
    >>> kept = codes * [1, 1, 1, 0]
    >>> recall_drop_at_k(codes, codes, kept, kept)
    0.25
    """
    X, y = check_paired_codes(X, y)
    if groups is None:  # what was kept may repeat, as it is less
        warn_if_repeated(X, y)
    full, kept = (
        rank_pairs(of_x, of_y, groups, candidates, block_size).recall(
            k, direction=direction, ties=ties, count_true_ties=count_true_ties
        )
        for of_x, of_y in ((X, y), check_paired_codes(X_kept, y_kept))
    )
    return full - kept
