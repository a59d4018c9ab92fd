"""Several estimators on the same held-out pairs."""

import warnings
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.model_selection._measures import (
    check_encoder,
    fit_pairs,
    measure,
    share_above_noise,
)
from skxsae.model_selection._split import (
    TEST_SIZE,
    check_held_out_depths,
    items_of,
    split_pairs,
)

_RESAMPLES_AT_ONCE = 32


@validate_params(
    {
        "estimators": [Mapping],
        "X": ["array-like"],
        "y": ["array-like"],
        "groups": ["array-like", None],
        "test_size": TEST_SIZE,
        "test": ["array-like", None],
        "k": [Integral, "array-like"],
        "tau": [Interval(Real, 0, 0.5, closed="both")],
        "n_resamples": [Interval(Integral, 0, None, closed="left")],
        "level": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def compare(
    estimators,
    X,
    y,
    groups=None,
    *,
    test_size=0.25,
    test=None,
    k=(1, 5, 10),
    tau=0.05,
    n_resamples=1000,
    level=0.95,
    random_state=None,
):
    """Compare estimators on pairs that none of them has seen.

    Clones are fitted on one part of the pairs and measured on the other, all on the
    same. Intervals are percentiles of a bootstrap that draws whole groups, the same for
    every estimator.

    Parameters
    ----------
    estimators : dict of str to estimator
        Estimators by name: those of two views, and those of one, such as
        :class:`~skxsae.TopKSAE` or :class:`~skxsae.baselines.SparseBaseline`, which
        then learn from the rows of both views in one joint space. One in a
        :class:`~sklearn.frozen.FrozenEstimator` is fitted already and is measured as
        it is: give `test`, so that none of what it was fitted on is held out.

    X : array-like of shape (n_samples, n_features)
        First view.

    y : array-like of shape (n_samples, n_features_y)
        Second view: row i is the partner of row i of X.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to, such as the image of a caption. Groups are held
        out, retrieved and drawn as a whole, and passed to a `fit` that takes them.

    test_size : float or int, default=0.25
        Share or number of the pairs, or groups, that are drawn to be held out.

    test : array-like of shape (n_samples,) of bool or (n_test,) of int, default=None
        Mask or numbers of the pairs that are held out, in place of a draw. Groups must
        be held out as a whole.

    k : int or sequence of int, default=(1, 5, 10)
        Numbers of answers that recall looks at.

    tau : float, default=0.05
        A latent is bimodal if its modality score is between `tau` and ``1 - tau``.

    n_resamples : int, default=1000
        Number of resamples. 0 does without intervals.

    level : float, default=0.95
        Share of the resamples that an interval holds.

    random_state : int, RandomState instance or None, default=None
        Seed of the split, the resamples and the null of the matches. Estimators have
        seeds of their own.

    Returns
    -------
    table : DataFrame
        Columns "value", "low" and "high"; a row for each estimator and score:

        - "explained_variance_x" and "_y": in the units of the input, about the mean of
          the held-out rows;
        - "l0_x" and "_y": mean number of active latents;
        - "dead_x" and "_y": share of the view's latents that are never active;
        - "recall@1_x_to_y" and so on: see :func:`~skxsae.metrics.recall_at_k_score`;
        - "bimodal_energy": share of the energy in bimodal latents;
        - "matches_above_noise": share of the matches, made on the training pairs, that
          beat those of re-paired samples, NaN if they were made without. Latents of an
          estimator that makes none are matched by their codes.

        The shares of dead latents and of matches have no interval: groups that are
        drawn twice hide what others show.

    Raises
    ------
    ValueError
        If there are no estimators, views are of different widths for an estimator of
        one view, fewer than two groups are held out, `test` cuts a group in two, or
        some `k` is larger than the number of groups held out.

    TypeError
        If an estimator does not encode and decode.

    Warns
    -----
    UserWarning
        If a tenth of the rows of a view or more are repeats and `groups` is None, or if
        an estimator is frozen and `test` is None.

    See Also
    --------
    skxsae.inspection.SelectionDisplay : One estimator over sizes and sparsities.

    Notes
    -----
    Intervals are for the held-out pairs, not for other seeds or other training pairs.
    That of "bimodal_energy" may lie below its value: a draw leaves groups out, and with
    them the rows on which a latent was active in one of the views.

    A :class:`~skxsae.baselines.SparseBaseline` finds codes by orthogonal matching
    pursuit by default, which explains more variance than an encoder does with the same
    dictionary. For a fair comparison of dictionaries, give every estimator
    ``transform_algorithm="omp"``.

    Examples
    --------
    >>> from skxsae import PostHocAlignedSAE, TopKSAE
    >>> from skxsae.baselines import SparseBaseline
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.model_selection import compare
    >>> data = make_paired_features(2000, 32, n_shared=24, n_x_only=4, n_y_only=4,
    ...     sparsity=0.9, max_interference=0.7, random_state=0)
    >>> sae = TopKSAE(64, k=4, max_iter=30, batch_size=256, learning_rate=3e-3)
    >>> table = compare(
    ...     {"aligned": PostHocAlignedSAE(x_sae=sae, y_sae=sae, random_state=0),
    ...      "k-means": SparseBaseline("kmeans", 64, k=4, random_state=0)},
    ...     data.X, data.y, n_resamples=100, random_state=0)
    >>> recall = table.xs("recall@5_x_to_y", level="score")
    >>> bool(recall["low"]["aligned"] > recall["high"]["k-means"])
    True
    """
    if not estimators:
        raise ValueError("estimators is empty: give at least one by name.")
    random_state = check_random_state(random_state)
    (X_train, y_train, groups_train), (X_test, y_test, groups_test) = split_pairs(
        X, y, groups, test_size, random_state, test
    )
    items = items_of(X_test, groups_test)
    counts = _draw_groups(items.max() + 1, n_resamples, random_state)
    k = check_held_out_depths(k, items)
    for name, estimator in estimators.items():
        check_encoder(estimator, X, y, name)
    if test is None:
        _warn_if_frozen(estimators)
    seed = random_state.randint(2**31 - 1)
    tables = {}
    for name, estimator in estimators.items():
        fitted = fit_pairs(estimator, X_train, y_train, groups_train)
        above_noise = share_above_noise(fitted, X_train, y_train, groups_train, seed)
        measures = measure(
            fitted, X_test, y_test, items, k=k, tau=tau, above_noise=above_noise
        )
        tables[name] = _table(measures, counts, level)
    return pd.concat(tables, names=["estimator"])


def _warn_if_frozen(estimators):
    """Warn that what a frozen estimator has seen may be among what is held out."""
    frozen = [name for name, e in estimators.items() if _holds_frozen(e)]
    if frozen:
        warnings.warn(
            f"{frozen[0]!r} is frozen, and the pairs to hold out are drawn here: if it "
            "was fitted on some of them, its scores are too good. Pass test, the pairs "
            "that it has not seen.",
            UserWarning,
            stacklevel=4,
        )


def _holds_frozen(estimator):
    """Whether a frozen estimator of codes is inside; frozen scalers are no matter."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(
        isinstance(part, FrozenEstimator)
        and hasattr(part, "inverse_transform")
        and (hasattr(part, "components_") or hasattr(part, "x_sae_"))
        for part in parts
    )


def _draw_groups(n_groups, n_resamples, random_state):
    """How often each group is drawn in each resample: (n_resamples, n_groups)."""
    if n_groups < 2:
        raise ValueError(
            f"{n_groups} group is held out, but at least 2 are needed. Raise test_size."
        )
    chances = np.full(n_groups, 1 / n_groups)
    return random_state.multinomial(n_groups, chances, n_resamples)


def _table(measures, counts, level):
    """Value and interval of each measure."""
    rows = {
        name: (measure.of_all(), *_interval(measure, counts, level))
        for name, measure in measures.items()
    }
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["value", "low", "high"]
    )
    return table.rename_axis("score")


def _interval(measure, counts, level):
    """Percentiles of a measure over the resamples, NaN where there are none."""
    if measure.sums is None or not len(counts):
        return np.nan, np.nan
    drawn = np.concatenate(
        [
            measure.of_drawn(counts[first : first + _RESAMPLES_AT_ONCE].astype(float))
            for first in range(0, len(counts), _RESAMPLES_AT_ONCE)
        ]
    )
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)
