"""All measures of the modality gap at once."""

from dataclasses import asdict, dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae._validation import check_groups
from skxsae.metrics._codes import ONE_SPACE, check_paired_codes
from skxsae.metrics._gap import (
    linear_separability,
    mean_difference_gap,
    relative_modality_gap,
    wasserstein_gap,
)
from skxsae.metrics._neighbors import checked_ood_score
from skxsae.metrics._repeats import first_of_groups, warn_of_repeats

_REPEATED = (
    "a repeated row is its own nearest neighbour. Pass groups, the item of each pair."
)


@dataclass(frozen=True)
class ModalityGapReport:
    """Five measures of the gap between two views.

    Parameters
    ----------
    mean_difference : float
        Distance of the means, see `mean_difference_gap`.

    wasserstein : float
        Cost of the cheapest transport, see `wasserstein_gap`.

    separability : float
        Accuracy of a linear probe, see `linear_separability`.

    relative_gap : float
        Distance of pairs against that inside the views, see `relative_modality_gap`.

    ood : float
        How well distances to neighbours tell the views apart, see `ood_score`.

    See Also
    --------
    modality_gap_report : Measures the gap of two views.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import modality_gap_report
    >>> X = np.random.default_rng(0).standard_normal((100, 4))
    >>> modality_gap_report(X, X + 5).mean_difference
    10.0
    """

    mean_difference: float
    wasserstein: float
    separability: float
    relative_gap: float
    ood: float

    def to_frame(self):
        """One row with a column for each measure.

        Returns
        -------
        DataFrame of shape (1, 5)
            The measures.
        """
        return pd.DataFrame([asdict(self)])


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like", "sparse matrix"],
        "groups": ["array-like", None],
        "native": [StrOptions({"x", "y", "mean"})],
        "k": [Interval(Integral, 1, None, closed="left")],
        "n_samples": [Interval(Integral, 1, None, closed="left"), None],
        "cv": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def modality_gap_report(
    X, y, *, groups=None, native="x", k=10, n_samples=10_000, cv=5, random_state=0
):
    """Measure the gap between two views in five ways.

    The distance of the means and linear separability are 0 and 0.5 for any two views
    with equal means. The other three compare distributions, and stay large where the
    gap is closed in name only [1]_.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        First view, such as reconstructions after an intervention.

    y : {array-like, sparse matrix} of shape (n_samples, n_features)
        Second view, row i paired with row i of `X`.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to, such as the image of a caption. Transport and
        neighbours are of the first pair of each item, as a row that is repeated is its
        own nearest neighbour; no fold splits an item, and no distance inside a view is
        of one item. If None, every pair is an item of its own.

    native : {"x", "y", "mean"}, default="x"
        View whose neighbours are searched by `ood_score`; "mean" averages the scores
        of both.

    k : int, default=10
        Which neighbour.

    n_samples : int, default=10_000
        Number of rows that `wasserstein_gap` draws. If None, all.

    cv : int or None, default=5
        Number of folds of `linear_separability`, None for the training rows.

    random_state : int, RandomState instance or None, default=0
        Seed of the rows that are drawn and of the folds.

    Returns
    -------
    report : ModalityGapReport
        The measures, with `to_frame`.

    Raises
    ------
    ValueError
        If the views differ in shape, or there are too few pairs.

    Warns
    -----
    UserWarning
        If a tenth of the rows of a view or more are repeats and `groups` is None.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendices I and L.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import modality_gap_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 4))
    >>> y = X + [3.0, 0.0, 0.0, 0.0] + 0.1 * rng.standard_normal((100, 4))
    >>> modality_gap_report(X, y).to_frame().round(2)
       mean_difference  wasserstein  separability  relative_gap   ood
    0              3.0         0.54          0.94          0.46  0.65
    """
    X, y = check_paired_codes(X, y, ONE_SPACE)
    if groups is None:
        warn_of_repeats({"X": X, "y": y}, _REPEATED)
        groups = np.arange(X.shape[0])
    groups = check_groups(groups, X.shape[0])
    first = first_of_groups(groups)
    x_items, y_items = X[first], y[first]
    scores = {"x": (y_items, x_items), "y": (x_items, y_items)}
    sides = ("x", "y") if native == "mean" else (native,)
    seed = random_state
    return ModalityGapReport(
        mean_difference_gap(X, y),
        wasserstein_gap(x_items, y_items, n_samples=n_samples, random_state=seed),
        linear_separability(X, y, groups=groups, cv=cv, random_state=seed),
        relative_modality_gap(X, y, groups=groups),
        sum(checked_ood_score(*scores[side], k) for side in sides) / len(sides),
    )
