"""How well each direction tells the two views apart."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.metrics._codes import check_width
from skxsae.metrics._dictionary import check_dictionary, is_present
from skxsae.metrics._modality import KINDS, check_energies, check_scores, latent_kinds

_ROWS_PER_BATCH = 1024


@dataclass(frozen=True, eq=False, repr=False)
class ProbingAccuracy:
    """Accuracy of every direction as a probe of the view of a sample.

    Parameters
    ----------
    score : float
        The probing accuracy p_acc: mean of `latent_scores`, weighted by energy.

    accuracies : ndarray of shape (n_latents,)
        Accuracy of each direction at telling samples of its view from those of the
        other: of x for x-only and bimodal concepts, of y for y-only ones. NaN for
        latents that are never active and for absent directions.

    latent_scores : ndarray of shape (n_latents,)
        Accuracy of a concept of one view; for a bimodal one, 1 if its accuracy is that
        of chance and 0 if it tells the views apart. NaN where the accuracy is.

    modality_scores : ndarray of shape (n_latents,)
        Modality scores, as they were given.

    energies : ndarray of shape (n_latents,)
        Energies, as they were given.

    kinds : ndarray of shape (n_latents,)
        "bimodal", "x_only", "y_only", or "dead" for what is never active.

    See Also
    --------
    probing_accuracy : Computes them.

    Examples
    --------
    >>> from skxsae.metrics import probing_accuracy
    >>> X, y = [[1.0, 2.0], [1.0, -2.0]], [[-1.0, 3.0], [-1.0, -3.0]]
    >>> probing_accuracy(X, y, [[1.0, 0.0], [0.0, 1.0]], [1.0, 0.5], [3.0, 1.0])
    ProbingAccuracy(score=1, n_latents=2)
    """

    score: float
    accuracies: np.ndarray
    latent_scores: np.ndarray
    modality_scores: np.ndarray
    energies: np.ndarray
    kinds: np.ndarray

    def __repr__(self):
        """The score, not the arrays."""
        n_latents = int(np.isfinite(self.accuracies).sum())
        return f"ProbingAccuracy(score={self.score:.4g}, n_latents={n_latents})"

    def to_frame(self):
        """Return what is known of each latent, as a table.

        Returns
        -------
        pandas.DataFrame of shape (n_latents, 5)
            A row for each latent, by its number: "kind", "modality_score", "energy",
            "accuracy" and "score".
        """
        columns = {
            "kind": self.kinds,
            "modality_score": self.modality_scores,
            "energy": self.energies,
            "accuracy": self.accuracies,
            "score": self.latent_scores,
        }
        return pd.DataFrame(
            columns, index=pd.RangeIndex(len(self.kinds), name="latent")
        )


@validate_params(
    {
        "X": ["array-like"],
        "y": ["array-like"],
        "components": ["array-like"],
        "scores": ["array-like"],
        "energies": ["array-like"],
        "tau": [Interval(Real, 0, 0.5, closed="both")],
        "max_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def probing_accuracy(
    X,
    y,
    components,
    scores,
    energies,
    *,
    tau=0.05,
    max_samples=10_000,
    random_state=None,
):
    """Whether directions of one view tell the views apart, and bimodal ones do not.

    Each direction is a linear probe of the view of a sample, which predicts its view
    where the inner product with the centred sample is above 0 [1]_. The score of an
    x-only or y-only concept is the accuracy; that of a bimodal one is ``1 - 2 *
    (max(accuracy, 1 - accuracy) - 0.5)``.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings of the first view.

    y : array-like of shape (n_samples_y, n_features)
        Embeddings of the second view, in the same space. Rows need not be paired.

    components : array-like of shape (n_latents, n_features)
        Directions. For two dictionaries, one for each view, call this once for each.

    scores : array-like of shape (n_latents,)
        Modality scores, see :func:`modality_score`. Latents with NaN are left out, and
        so are absent directions, rows of zeros or NaN.

    energies : array-like of shape (n_latents,)
        Energies that the scores are weighted by, the mean of those in the two views.

    tau : float, default=0.05
        A concept is bimodal if its modality score is in ``[tau, 1 - tau]``.

    max_samples : int, default=10_000
        Number of rows of each view that are used at most, drawn at random without
        replacement. With the default, the standard error of an accuracy is below
        0.0036. None takes as many as the smaller view has: equally many of each view
        are used in any case.

    random_state : int, RandomState instance or None, default=None
        Determines which rows are drawn, where not all are used.

    Returns
    -------
    ProbingAccuracy
        The mean score p_acc as `score`, and accuracy and score of each latent.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    See Also
    --------
    functional_alignment_ratio : Whether bimodal concepts carry the alignment.

    Notes
    -----
    Rows are centred by the mean of all rows that are used. The time is that of the
    product of these rows and `components`, in float64.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026, appendix E.

    Examples
    --------
    >>> from skxsae.metrics import probing_accuracy
    >>> X, y = [[1.0, 2.0], [1.0, -2.0]], [[-1.0, 3.0], [-1.0, -3.0]]
    >>> directions = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> probing = probing_accuracy(X, y, directions, [1.0, 0.5, 0.0], [2.0, 1.0, 1.0])
    >>> probing.score
    0.75
    >>> probing.to_frame()
               kind  modality_score  energy  accuracy  score
    latent
    0        x_only             1.0     2.0       1.0    1.0
    1       bimodal             0.5     1.0       0.5    1.0
    2        y_only             0.0     1.0       0.0    0.0
    """
    X, y = check_embeddings(X, "X"), check_embeddings(y, "y")
    check_width(X, y, "X", "y")
    components = check_dictionary(components, "components")
    check_width(components, X, "components", "X")
    scores = check_scores(scores)
    energies = check_energies(energies, "energies", len(components))
    kinds = latent_kinds(scores, tau)
    if len(scores) != len(components):
        raise ValueError(
            f"scores has {len(scores)} entries, but components has {len(components)} "
            "rows: give one for each latent."
        )
    X, y = _equally_many(X, y, max_samples, check_random_state(random_state))
    known = np.flatnonzero((kinds >= 0) & is_present(components))
    accuracies = np.full(len(components), np.nan)
    accuracies[known] = _accuracies(X, y, components[known])
    of_y = kinds == KINDS.index("y_only")
    accuracies[of_y] = 1 - accuracies[of_y]
    balanced = 1 - 2 * (np.maximum(accuracies, 1 - accuracies) - 0.5)
    is_bimodal = kinds == KINDS.index("bimodal")
    latent_scores = np.where(is_bimodal, balanced, accuracies)
    total = energies[known].sum()
    mean = float(energies[known] @ latent_scores[known] / total) if total else np.nan
    names = np.array([*KINDS, "dead"])[kinds]
    return ProbingAccuracy(mean, accuracies, latent_scores, scores, energies, names)


def check_embeddings(X, name):
    """Finite 2-D embeddings of floats."""
    if np.ndim(X) != 2:
        raise ValueError(
            f"{name} must be 2-dimensional, one row per sample, got {np.ndim(X)} "
            "dimensions."
        )
    return check_array(X, dtype=[np.float64, np.float32], input_name=name)


def _equally_many(X, y, max_samples, rng):
    """The same number of rows of each view in float64, drawn if not all are used."""
    n = min(len(X), len(y), max_samples or len(X))
    drawn = []
    for rows in (X, y):
        if len(rows) > n:
            rows = rows[np.sort(rng.choice(len(rows), n, replace=False))]
        drawn.append(np.asarray(rows, dtype=np.float64))
    return drawn


def _accuracies(X, y, components):
    """Accuracy of each direction at predicting that a row is of X."""
    mean = (X.mean(axis=0) + y.mean(axis=0)) / 2
    positive = [_count_positive(rows, mean, components) for rows in (X, y)]
    return (positive[0] + len(y) - positive[1]) / (len(X) + len(y))


def _count_positive(X, mean, components):
    """Number of rows whose centred inner product with each direction is above 0."""
    counts = np.zeros(len(components), dtype=np.int64)
    for rows in gen_batches(len(X), _ROWS_PER_BATCH):
        products = (X[rows] - mean) @ components.T
        counts += np.count_nonzero(products > 0, axis=0)
    return counts
