"""How a matching of latents depends on the number of pairs."""

import warnings

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_array, check_random_state, indexable
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import _num_samples

from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._validation import check_groups


@validate_params(
    {
        "matcher": [CoactivationMatcher],
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like", "sparse matrix"],
        "groups": ["array-like", None],
        "fractions": ["array-like"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def matching_curve(
    matcher,
    X,
    y,
    *,
    groups=None,
    fractions=(0.1, 0.2, 0.4, 0.7, 1.0),
    random_state=None,
):
    """Match the latents of two views on more and more pairs.

    It tells whether there are enough pairs: a matching that has settled hardly changes
    over the last fractions.

    Parameters
    ----------
    matcher : CoactivationMatcher
        What is fitted, a clone of it for each fraction.

    X : {array-like, sparse matrix} of shape (n_samples, n_latents_x)
        Codes whose columns are to be reordered.

    y : {array-like, sparse matrix} of shape (n_samples, n_latents_y)
        Codes of the paired samples in the reference view.

    groups : array-like of shape (n_samples,), default=None
        Group of each pair, such as the image that several captions belong to. Whole
        groups are drawn. None means that every pair is its own group.

    fractions : array-like of shape (n_fractions,), default=(0.1, 0.2, 0.4, 0.7, 1.0)
        Shares of the groups to match on, in (0, 1]. The groups of a smaller share are
        among those of a larger one.

    random_state : int, RandomState instance or None, default=None
        Seed of the choice of the groups, and of `matcher` if that has none of its own.

    Returns
    -------
    pandas.DataFrame of shape (n_fractions, 9)
        A row for each fraction, in the given order:

        * "fraction", "n_groups" and "n_samples": what was matched on;
        * "n_matched": number of matches;
        * "above_noise": share of the matches that score above the noise floor;
        * "noise_floor": the score that a matching reaches by chance;
        * "median_score": median score of the matches;
        * "mutual": share of the matches whose latents are each other's best;
        * "agreement": share of the matches on the largest fraction that are found here.

        What is undefined is NaN: shares of no match, and what needs a noise floor if
        the matcher does without one.

    Raises
    ------
    ValueError
        If the numbers of samples differ, or a fraction is outside (0, 1] or less than
        two groups.

    See Also
    --------
    CoactivationMatcher : The matching, and what is known of it.
    HeterogeneityDisplay : Distances between the directions of what is active together.

    Notes
    -----
    On few pairs scores are high by chance, so that "median_score" alone says little;
    "noise_floor" falls as fast. As the subsets are nested, "agreement" comes to 1 by
    construction: it is how early it does that counts.

    Warnings of the matcher that its matches are few or not above the noise floor are
    kept for the largest fraction.

    Examples
    --------
    >>> from skxsae import CoactivationMatcher
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.inspection import matching_curve
    >>> data = make_paired_features(1000, n_features=128, n_shared=64, n_x_only=32,
    ...     n_y_only=32, max_interference=0.7, sparsity=0.9, shared_magnitudes=False,
    ...     random_state=0)
    >>> curve = matching_curve(CoactivationMatcher(), data.x_codes, data.y_codes,
    ...     fractions=(0.1, 0.3, 1), random_state=0)
    >>> curve[["n_samples", "n_matched", "above_noise", "agreement"]].round(1)
       n_samples  n_matched  above_noise  agreement
    0        100         55          0.3        0.3
    1        300         96          0.5        0.7
    2       1000         96          0.7        1.0
    """
    X, y, groups = indexable(X, y, groups)
    rng = check_random_state(random_state)
    numbers = _group_numbers(groups, _num_samples(X))
    place = rng.permutation(numbers.max() + 1)
    sizes = _sizes(fractions, len(place))
    matcher = clone(matcher)
    if matcher.random_state is None:
        matcher.set_params(random_state=rng.randint(2**31 - 1))
    subsets = [np.flatnonzero(place[numbers] < size) for size in sizes]
    fits = [
        _fit(matcher, X, y, groups, rows, quiet=size < max(sizes))
        for rows, size in zip(subsets, sizes, strict=True)
    ]
    reference = fits[np.argmax(sizes)]
    scores = [_summary(fitted, reference) for fitted in fits]
    drawn = {
        "fraction": np.asarray(fractions, dtype=float),
        "n_groups": sizes,
        "n_samples": [len(rows) for rows in subsets],
    }
    return pd.DataFrame(drawn).join(pd.DataFrame(scores))


def _group_numbers(groups, n_samples):
    """Number of the group of each pair, counted from 0."""
    return np.arange(n_samples) if groups is None else check_groups(groups, n_samples)


def _sizes(fractions, n_groups):
    """Number of groups of each fraction."""
    shares = check_array(
        fractions, dtype=np.float64, ensure_2d=False, input_name="fractions"
    )
    if shares.ndim != 1 or not ((shares > 0) & (shares <= 1)).all():
        raise ValueError(
            f"fractions={fractions!r} must be a list of shares of the groups in (0, 1]."
        )
    sizes = np.round(shares * n_groups).astype(int)
    if sizes.min() < 2:
        raise ValueError(
            f"The fraction {shares.min():g} of {n_groups} groups is {sizes.min()}, but "
            f"at least 2 are needed: use fractions of at least {2 / n_groups:.2g}, or "
            "more groups."
        )
    return sizes


def _fit(matcher, X, y, groups, rows, *, quiet):
    """A clone of the matcher fitted on some of the rows."""
    X, y, groups = (
        None if part is None else _safe_indexing(part, rows) for part in (X, y, groups)
    )
    with warnings.catch_warnings():
        if quiet:
            for message in ("Only .* above the noise floor", "Nothing is matched"):
                warnings.filterwarnings("ignore", message, UserWarning)
        return clone(matcher).fit(X, y, groups=groups)


def _summary(fitted, reference):
    """What is known of a matching, and how much of the reference it finds."""
    matched, expected = fitted.matching_ >= 0, reference.matching_ >= 0
    same = fitted.matching_ == reference.matching_
    with_null = not np.isnan(fitted.noise_floor_)
    return {
        "n_matched": np.count_nonzero(matched),
        "above_noise": _mean(fitted.above_noise_[matched]) if with_null else np.nan,
        "noise_floor": fitted.noise_floor_,
        "median_score": np.median(fitted.scores_[matched]) if matched.any() else np.nan,
        "mutual": _mean(fitted.mutual_[matched]),
        "agreement": _mean(same[expected]),
    }


def _mean(values):
    """Mean, NaN of nothing."""
    return np.mean(values) if len(values) else np.nan
