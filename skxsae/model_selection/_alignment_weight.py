"""Choosing the weight of an alignment term."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._paired_sae import PairedSAE
from skxsae._training import DivergedError
from skxsae.model_selection._split import TEST_SIZE, split_pairs

_WEIGHTS = tuple(np.logspace(-6, -1, 6))


@dataclass(frozen=True)
class AlignmentWeightSelection:
    """What :func:`select_alignment_weight` found.

    Parameters
    ----------
    best_weight : float
        The largest weight that is admissible, 0 if none is. Where it is the largest
        that was tried, larger ones may do as well.

    best_estimator : PairedSAE
        The estimator that was fitted with it.

    weights : ndarray of shape (n_weights,)
        The weights that were tried, in increasing order; the first is 0.

    explained_variance : ndarray of shape (n_weights,)
        Mean explained variance of the two views on the held-out pairs; minus
        infinity where training diverged.

    always_on : ndarray of shape (n_weights,) of bool
        Whether some latent is active on every held-out sample of a view.

    admissible : ndarray of shape (n_weights,) of bool
        Whether the explained variance is close enough to that without alignment and
        no latent is always on. Weight 0 always is.

    See Also
    --------
    select_alignment_weight : Makes a selection.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae import PairedSAE
    >>> from skxsae.model_selection import select_alignment_weight
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> sae = PairedSAE(n_latents=16, k=2, max_iter=1, random_state=0)
    >>> selection = select_alignment_weight(sae, X, -X, weights=[1e-3], random_state=0)
    >>> selection.to_frame().columns.tolist()
    ['weight', 'explained_variance', 'always_on', 'admissible']
    """

    best_weight: float
    best_estimator: PairedSAE
    weights: np.ndarray
    explained_variance: np.ndarray
    always_on: np.ndarray
    admissible: np.ndarray

    def to_frame(self):
        """Return the search as a table.

        Returns
        -------
        frame : DataFrame
            A row for each weight: "weight", "explained_variance", "always_on" and
            "admissible".
        """
        names = ("weight", "explained_variance", "always_on", "admissible")
        columns = (
            self.weights,
            self.explained_variance,
            self.always_on,
            self.admissible,
        )
        return pd.DataFrame(dict(zip(names, columns, strict=True)))


@validate_params(
    {
        "estimator": [PairedSAE],
        "weights": ["array-like"],
        "groups": ["array-like", None],
        "max_drop": [Interval(Real, 0, None, closed="left")],
        "test_size": TEST_SIZE,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def select_alignment_weight(
    estimator,
    X,
    y,
    *,
    groups=None,
    weights=_WEIGHTS,
    max_drop=0.05,
    test_size=0.1,
    random_state=None,
):
    """Choose the weight of an alignment term by what it costs in reconstruction.

    The rule of the iso-energy paper [1]_: the largest weight whose explained variance
    stays within `max_drop` of that without alignment. Here it is read on held-out
    pairs, and a weight under which some latent is active on every sample is refused,
    for such a latent makes codes similar and tells nothing.

    Parameters
    ----------
    estimator : PairedSAE
        Estimator with an alignment term. It is cloned, and not fitted itself. With an
        int as its `random_state` all weights start from the same dictionary.

    X : array-like of shape (n_samples, n_features)
        First view.

    y : array-like of shape (n_samples, n_features)
        Second view.

    groups : array-like of shape (n_samples,), default=None
        Group of each pair, such as the image of a caption. A group is held out as a
        whole.

    weights : array-like of shape (n_weights,), default=(1e-6, 1e-5, ..., 1e-1)
        Positive weights to try. Weight 0 is tried in any case.

    max_drop : float, default=0.05
        Explained variance that may be lost against weight 0.

    test_size : float or int, default=0.1
        Share or number of the pairs, or groups, that are held out.

    random_state : int, RandomState instance or None, default=None
        Seed of the choice of the pairs that are held out.

    Returns
    -------
    selection : AlignmentWeightSelection
        The best weight, its estimator, and the whole search.

    Raises
    ------
    ValueError
        If the estimator has no alignment term or a weight is not positive.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026.

    Examples
    --------
    >>> from skxsae import PairedSAE
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.model_selection import select_alignment_weight
    >>> data = make_paired_features(1000, n_features=32, n_shared=32, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0)
    >>> sae = PairedSAE(n_latents=64, k=4, alignment="iso_energy", batch_size=100,
    ...     max_iter=20, learning_rate=1e-2, random_state=0)
    >>> selection = select_alignment_weight(sae, data.X, data.y, weights=[1e-3, 10],
    ...     random_state=0)
    >>> selection.best_weight
    0.001
    """
    weights = np.asarray(weights, dtype=float)
    if weights.ndim != 1 or not weights.size or not (weights > 0).all():
        raise ValueError("weights must be one or more positive numbers.")
    if estimator.alignment == "none" or (
        estimator.alignment == "auto" and estimator.coupling != "shared"
    ):
        raise ValueError(
            f"The estimator has no alignment term: coupling={estimator.coupling!r} and "
            f"alignment={estimator.alignment!r}. Set alignment; only the couplings "
            "'shared' and 'global_topk' take a term."
        )
    (X_train, y_train, _), (X_test, y_test, _) = split_pairs(
        X, y, groups, test_size, random_state
    )
    weights = np.append(0.0, np.unique(weights))
    explained, always_on, admissible = [], [], []
    best = 0
    for number, weight in enumerate(weights):
        fitted = clone(estimator).set_params(alignment_weight=float(weight))
        try:
            fitted.fit(X_train, y_train)
        except DivergedError:
            if not number:  # without alignment
                raise
            explained.append(-np.inf)
            always_on.append(False)
            admissible.append(False)
            continue
        explained.append(fitted.score(X_test, y_test))
        always_on.append(_some_latent_is_always_on(fitted, X_test, y_test))
        loss = explained[0] - explained[-1]
        admissible.append(number == 0 or (loss <= max_drop and not always_on[-1]))
        if admissible[-1]:
            best, best_estimator = number, fitted
    return AlignmentWeightSelection(
        float(weights[best]),
        best_estimator,
        weights,
        np.array(explained),
        np.array(always_on),
        np.array(admissible),
    )


def _some_latent_is_always_on(estimator, X, y):
    """Whether a latent is active on every sample of one of the views."""
    return any(
        ((codes != 0).sum(axis=0) == codes.shape[0]).any()
        for codes in estimator.transform(X, y)
    )
