"""The best dictionary of a given size, as samples become sparse."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.theory._directions import check_same_shape, check_unit_rows
from skxsae.theory._thresholds import check_positive

_MAX_DIRECTIONS = 12
_ROUNDING = 1e-12

_FEATURES = {"x_features": ["array-like"], "y_features": ["array-like"]}
_MEAN_SQUARE = {
    "mean_square": ["array-like", Interval(Real, 0, None, closed="neither")]
}
_SPARSITY = {"sparsity": [Interval(Real, 0, 1, closed="neither")]}


@dataclass(frozen=True)
class DictionaryOptimum:
    """The best dictionary of a given size, as :func:`optimal_dictionary` finds it.

    Parameters
    ----------
    components : ndarray of shape (n_latents, n_features)
        Columns of the dictionary, as rows of unit length. Latents that are not needed
        are zeros.

    x_labels : ndarray of shape (n_concepts,)
        Latent that the direction of each concept activates in the first view, -1 for
        none.

    y_labels : ndarray of shape (n_concepts,)
        The same in the second view.

    coefficient : float
        Sum over concepts, views and active samples of the mean squared error: what
        multiplies ``sparsity ** (n_concepts - 1) * (1 - sparsity)`` in the loss.

    Attributes
    ----------
    is_collapsed : ndarray of shape (n_concepts,)
        Whether both directions of a concept activate the same latent.

    See Also
    --------
    optimal_dictionary : Where it comes from.

    Examples
    --------
    >>> from skxsae.theory import optimal_dictionary
    >>> optimum = optimal_dictionary([[1.0, 0.0]], [[0.6, 0.8]], n_latents=1)
    >>> optimum.is_collapsed
    array([ True])
    >>> round(optimum.loss(sparsity=0.75), 6)
    0.1
    """

    components: np.ndarray
    x_labels: np.ndarray
    y_labels: np.ndarray
    coefficient: float

    @property
    def is_collapsed(self):
        """Whether both directions of a concept activate the same latent."""
        return (self.x_labels == self.y_labels) & (self.x_labels >= 0)

    @validate_params(_SPARSITY, prefer_skip_nested_validation=True)
    def loss(self, sparsity):
        """Minimum of the reconstruction loss, to leading order.

        Parameters
        ----------
        sparsity : float
            Probability that a concept is not active in a sample, near 1.

        Returns
        -------
        float
            Squared errors of both views in sum, up to a part that vanishes faster than
            ``1 - sparsity``.
        """
        return _one_is_active(len(self.x_labels), sparsity) * self.coefficient


@validate_params(
    {
        **_FEATURES,
        **_MEAN_SQUARE,
        "n_latents": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def optimal_dictionary(x_features, y_features, n_latents, *, mean_square=1.0):
    """Best dictionary of a given size for the reconstruction of two views.

    The minimum of the reconstruction loss of a shared dictionary without an alignment
    term, where hardly any concept is active: Corollary 1 and Theorem 1 of [1]_. Two
    latents for each concept split them all. Of fewer, each represents a group of
    directions by the top eigenvector of their second moments, and the groups are those
    with the largest sum of top eigenvalues.

    Parameters
    ----------
    x_features : array-like of shape (n_concepts, n_features)
        Directions of the concepts in the first view. Their lengths do not count.

    y_features : array-like of shape (n_concepts, n_features)
        Directions of the same concepts in the second view.

    n_latents : int
        Number of latents. All groupings are searched if it is less than two for each
        concept, for which there may be at most 6 concepts.

    mean_square : float or array-like of shape (n_concepts,), default=1.0
        Mean of z^2, the squared activation of a concept, over the samples in which it
        is active.

    Returns
    -------
    DictionaryOptimum
        Columns, groups and loss. Of equally good dictionaries it is one.

    Raises
    ------
    ValueError
        If the views do not have the same shape, a direction is zero, a mean square is
        not positive, or there are too many concepts for the search.

    See Also
    --------
    optimal_concept : One concept under an alignment term.

    Notes
    -----
    For an autoencoder without biases, with an encoder that is the transpose of the
    dictionary, and one active latent. Concepts are active independently.

    Theorem 1 lets a latent represent directions on both sides of it, which codes that
    are not negative cannot do. It is exact where directions in a group have no negative
    inner product. The search here is exact in general: a direction that would get a
    negative code is left out of its group, at the full price of its mean square. One
    latent for two directions at a cosine of -0.5 loses 1 of 2, and not 0.5.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, Corollary 1 and Theorem 1.

    Examples
    --------
    Of two concepts, the one whose directions are nearer collapses first.

    >>> from skxsae.theory import optimal_dictionary
    >>> x_features = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    >>> y_features = [[0.6, 0.8, 0.0, 0.0], [0.0, 0.0, 0.8, 0.6]]
    >>> optimum = optimal_dictionary(x_features, y_features, n_latents=3)
    >>> optimum.is_collapsed
    array([False,  True])
    >>> round(optimum.coefficient, 6)
    0.2
    >>> optimal_dictionary(x_features, y_features, n_latents=4).coefficient
    0.0
    """
    check_same_shape(x_features, y_features, "x_features", "y_features", n_dims=2)
    x_features = check_unit_rows(x_features, "x_features")
    y_features = check_unit_rows(y_features, "y_features")
    n_concepts = len(x_features)
    mean_square = _check_mean_square(mean_square, n_concepts)
    directions = np.vstack([x_features, y_features])
    columns = directions
    if n_latents < len(directions):
        columns = _best_components(directions, np.tile(mean_square, 2), n_latents)
    components = np.zeros((n_latents, directions.shape[1]))
    components[: len(columns)] = columns
    codes = directions @ columns.T
    labels = np.where(codes.max(axis=1) > _ROUNDING, codes.argmax(axis=1), -1)
    lost = 1 - codes.max(axis=1).clip(0, 1) ** 2
    coefficient = np.tile(mean_square, 2) @ np.where(lost > _ROUNDING, lost, 0.0)
    return DictionaryOptimum(
        components, labels[:n_concepts], labels[n_concepts:], float(coefficient)
    )


@validate_params(
    {**_FEATURES, **_MEAN_SQUARE, **_SPARSITY}, prefer_skip_nested_validation=True
)
def expected_inner_product(x_features, y_features, sparsity, *, mean_square=1.0):
    """Mean inner product of the two embeddings of a pair, to leading order.

    ``sparsity ** (n_concepts - 1) * (1 - sparsity) * sum_i phi_i . psi_i
    mean_square_i``, equation 14 of [1]_: a concept adds to the similarity of pairs by
    the cosine of its directions and by its energy.

    Parameters
    ----------
    x_features : array-like of shape (n_concepts, n_features)
        Directions of the concepts in the first view. Their lengths do not count.

    y_features : array-like of shape (n_concepts, n_features)
        Directions of the same concepts in the second view.

    sparsity : float
        Probability that a concept is not active in a sample, near 1.

    mean_square : float or array-like of shape (n_concepts,), default=1.0
        Mean of z^2, the squared activation of a concept, over the samples in which it
        is active.

    Returns
    -------
    float
        Mean of x . y, up to a part that vanishes faster than ``1 - sparsity``: that of
        samples with more than one active concept.

    Raises
    ------
    ValueError
        If the views do not have the same shape, a direction is zero, or a mean square
        is not positive.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, equation 14.

    Examples
    --------
    >>> from skxsae.theory import expected_inner_product
    >>> round(expected_inner_product([[1.0, 0.0]], [[0.6, 0.8]], sparsity=0.9), 6)
    0.06
    """
    check_same_shape(x_features, y_features, "x_features", "y_features", n_dims=2)
    x_features = check_unit_rows(x_features, "x_features")
    y_features = check_unit_rows(y_features, "y_features")
    mean_square = _check_mean_square(mean_square, len(x_features))
    cosines = np.sum(x_features * y_features, axis=1)
    return float(_one_is_active(len(x_features), sparsity) * (cosines @ mean_square))


def _one_is_active(n_concepts, sparsity):
    """Probability that one given concept is active, and no other."""
    return sparsity ** (n_concepts - 1) * (1 - sparsity)


def _check_mean_square(mean_square, n_concepts):
    """One mean square for each concept."""
    mean_square = check_positive(mean_square, "mean_square")
    if mean_square.shape not in {(), (n_concepts,)}:
        raise ValueError(
            f"mean_square must be one number or one for each of {n_concepts} concepts, "
            f"got shape {mean_square.shape}."
        )
    return np.broadcast_to(mean_square, n_concepts)


def _best_components(directions, weights, n_latents):
    """Unit columns, as rows, of the best partition into at most `n_latents` groups.

    Sets of directions are bit masks. ``best[k, s]`` is the largest energy that k
    latents keep of set s, found from all subsets that hold the first member of s.
    """
    n_directions = len(directions)
    if n_directions > _MAX_DIRECTIONS:
        raise ValueError(
            f"All groupings of the directions of {n_directions // 2} concepts are too "
            f"many to search: pass at most {_MAX_DIRECTIONS // 2} concepts, or "
            f"n_latents of at least {n_directions}, which splits them all."
        )
    energy, columns = _one_latent(directions, weights)
    sets = np.arange(len(energy))
    best = np.zeros((n_latents + 1, len(sets)))
    choice = np.zeros(best.shape, dtype=int)
    for s in sets[1:]:
        groups = sets[((sets & ~s) == 0) & ((sets & s & -s) != 0)]
        kept = energy[groups] + best[:-1, s ^ groups]
        best[1:, s], choice[1:, s] = kept.max(axis=1), groups[kept.argmax(axis=1)]
    components, left = [], sets[-1]
    for k in range(n_latents, 0, -1):
        if left:
            components.append(columns[choice[k, left]])
            left ^= choice[k, left]
    return np.array(components)


def _one_latent(directions, weights):
    """Energy that one latent keeps of each set of directions, and its column.

    The best column for codes that are not negative is the top eigenvector of a subset
    of which no member has a negative product with it.
    """
    n_directions = len(directions)
    n_sets = 2**n_directions
    bits = 1 << np.arange(n_directions)
    is_member = (np.arange(n_sets)[:, None] & bits) != 0
    roots = np.sqrt(weights) * is_member
    gram = roots[:, :, None] * (directions @ directions.T) * roots[:, None, :]
    values, vectors = np.linalg.eigh(gram)
    columns = (vectors[:, :, -1] * roots) @ directions
    columns[1:] /= np.linalg.norm(columns[1:], axis=1, keepdims=True)
    products = columns @ directions.T * is_member
    flipped = products.sum(axis=1) < 0
    columns[flipped] *= -1
    products[flipped] *= -1
    energy = np.where((products >= -_ROUNDING).all(axis=1), values[:, -1], 0.0)
    for s in range(1, n_sets):
        smaller = s ^ bits[is_member[s]]
        best = smaller[energy[smaller].argmax()]
        if energy[best] > energy[s] * (1 + _ROUNDING):
            energy[s], columns[s] = energy[best], columns[best]
    return energy, columns
