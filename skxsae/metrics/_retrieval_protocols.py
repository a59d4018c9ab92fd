"""Recall at k under the protocols of published tables, each named with its result."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._validation import check_groups
from skxsae.metrics._codes import check_paired_codes
from skxsae.metrics._recall import RetrievalRanks
from skxsae.metrics._repeats import first_of_groups
from skxsae.metrics._retrieval import rank_pairs, warn_if_repeated

RECALL_PROTOCOLS: dict[str, dict] = {
    "all_captions": {
        "pairs": "all",
        "candidates": None,
        "ties": "pessimistic",
        "count_true_ties": True,
    },
    "batches_of_256": {
        "pairs": "first of each group",
        "candidates": 256,
        "ties": "pessimistic",
        "count_true_ties": True,
    },
}


@dataclass(frozen=True)
class ProtocolRecall:
    """Recall at several k together with the protocol that it was found under.

    Parameters
    ----------
    protocol : str
        Name of the protocol.

    choices : dict
        What the protocol says: "pairs", "candidates", "ties" and "count_true_ties".

    k : tuple of int
        Numbers of answers that are looked at.

    n_pairs : int
        Number of pairs that were ranked.

    ranks : RetrievalRanks
        Ranks of all queries.

    See Also
    --------
    recall_by_protocol : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import recall_by_protocol
    >>> X = np.random.default_rng(0).normal(size=(600, 8))
    >>> recall = recall_by_protocol(X, X, protocol="batches_of_256")
    >>> recall.protocol, recall.n_pairs, recall.choices["candidates"]
    ('batches_of_256', 512, 256)
    """

    protocol: str
    choices: dict
    k: tuple
    n_pairs: int
    ranks: RetrievalRanks

    def to_frame(self):
        """Return recall in both directions as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each direction under the name of the protocol, a column for each
            k.
        """
        options = {name: self.choices[name] for name in ("ties", "count_true_ties")}
        table = self.ranks.to_frame(self.k, **options)
        return pd.concat({self.protocol: table}, names=["protocol"])


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like", "sparse matrix"],
        "protocol": [StrOptions(set(RECALL_PROTOCOLS))],
        "groups": ["array-like", None],
        "k": ["array-like", Integral],
    },
    prefer_skip_nested_validation=True,
)
def recall_by_protocol(X, y, *, protocol="all_captions", groups=None, k=(1, 5, 10)):
    """Recall at k as one of the published tables defines it.

    The two protocols give different numbers for the same codes: one in 256 is found
    more easily than one in 25,000.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view, such as the images, repeated for each caption.

    y : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the second view, row i paired with row i of `X`.

    protocol : {"all_captions", "batches_of_256"}, default="all_captions"
        What is ranked:

        - "all_captions": every caption against all images, and every image against all
          captions, a hit if any of its own is found: the COCO protocol of [1]_;
        - "batches_of_256": inside consecutive batches of 256 one-to-one pairs, the
          first pair of each group: that of [2]_, which prints the mean of both
          directions.

        Ties count against the true answer in both.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to. If None, every pair is an item of its own.

    k : int or sequence of int, default=(1, 5, 10)
        Numbers of answers that are looked at.

    Returns
    -------
    ProtocolRecall
        Recall with the protocol's name and choices.

    Raises
    ------
    ValueError
        If there are fewer pairs than a batch has, or fewer answers than `k`.

    See Also
    --------
    recall_at_k_score : Recall with each choice as a parameter.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", section 7.
    .. [2] Dhimoïla et al., iso-energy alignment, 2026.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import recall_by_protocol
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1024, 8))
    >>> y = X + rng.normal(size=X.shape)
    >>> recall_by_protocol(X, y, k=[5]).to_frame().round(2)
                            recall@5
    protocol     direction
    all_captions x_to_y         0.36
                 y_to_x         0.36
                 mean           0.36
    >>> recall_by_protocol(X, y, k=[5], protocol="batches_of_256").to_frame().round(2)
                              recall@5
    protocol       direction
    batches_of_256 x_to_y         0.61
                   y_to_x         0.60
                   mean           0.60
    """
    X, y = check_paired_codes(X, y)
    choices = dict(RECALL_PROTOCOLS[protocol])
    if groups is None:
        warn_if_repeated(X, y)
    else:
        groups = check_groups(groups, X.shape[0])
        if choices["pairs"] != "all":
            first = first_of_groups(groups)
            X, y, groups = X[first], y[first], groups[first]
    size = choices["candidates"] or 1
    if X.shape[0] < size:
        raise ValueError(
            f"protocol={protocol!r} needs {size} pairs of different groups or more, "
            f"got {X.shape[0]}. Give more, or use recall_at_k_score with fewer "
            "candidates."
        )
    ranks = rank_pairs(X, y, groups, choices["candidates"])
    k = tuple(np.atleast_1d(np.asarray(k)).tolist())
    if not k:
        raise ValueError("k is empty, but recall needs one depth or more: give [10].")
    for n in k:  # a k that the galleries do not have is refused here, not later
        ranks.recall(n)
    n_pairs = X.shape[0] - X.shape[0] % size
    return ProtocolRecall(protocol, choices, k, n_pairs, ranks)
