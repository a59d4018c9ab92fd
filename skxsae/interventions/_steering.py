"""Moving embeddings along the directions of concepts."""

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._concepts import concept_view
from skxsae._validation import check_view


@validate_params(
    {
        "concept": [Integral, "array-like"],
        "strength": [Real, "array-like"],
        "view": [StrOptions({"x", "y"})],
        "on": [StrOptions({"embedding", "reconstruction"})],
        "device": [str, None],
    },
    prefer_skip_nested_validation=True,
)
def steer(
    estimator,
    X,
    concept,
    strength=1.0,
    *,
    view="x",
    on="embedding",
    device=None,
):
    """Add a concept to embeddings, or take it away.

    The direction of the concept in the dictionary of the view is added, so that what
    was found by its name in one view, such as a word, changes embeddings of the other,
    such as pictures. Their nearest neighbours then show what the concept is.

    Parameters
    ----------
    estimator : PostHocAlignedSAE, PairedSAE or TopKSAE
        Fitted estimator.

    X : array-like of shape (n_samples, n_features)
        Embeddings of one view.

    concept : int or array-like of shape (n_concepts,)
        Number of the concept, or of several: columns of the codes.

    strength : float or array-like of shape (n_concepts,), default=1.0
        How much is added of each; negative takes away. The unit is that of an
        activation: 1 moves a sample as far as an activation of 1 does. Under the
        default ``normalize="scale"`` this is the typical distance of a sample from the
        mean of all; under "l2" and "center_l2" the length of the sample itself.

    view : {"x", "y"}, default="x"
        View that `X` belongs to.

    on : {"embedding", "reconstruction"}, default="embedding"
        What the direction is added to: the embedding, of which nothing is lost [1]_,
        or what the codes retain of it.

    device : str or None, default=None
        Torch device of the encoder, which "reconstruction" needs; None means that of
        the estimator.

    Returns
    -------
    X_steered : ndarray of shape (n_samples, n_features)
        Embeddings in the units of the input. Their length is not kept.

    Raises
    ------
    ValueError
        If the view lacks a concept.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", section 6.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import load_emoji
    >>> from skxsae.inspection import name_latents
    >>> from skxsae.interventions import steer
    >>> data = load_emoji(subset="train")
    >>> sae = TopKSAE(n_latents=128, k=8, max_iter=20, random_state=0).fit(data.y)
    >>> octopus = data.y[data.names == "octopus"][:1]
    >>> flag = name_latents(sae, data.y, data.texts)["confidence"].idxmax()
    >>> for strength in (0, 2):
    ...     steered = steer(sae, octopus, int(flag), strength)
    ...     nearest = np.argsort(-data.y @ steered[0])[:100]
    ...     print(bool(np.mean(data.categories[nearest] == "Flags") > 0.3))
    False
    True
    """
    concepts = concept_view(estimator, view)
    sae = concepts.sae
    X = check_view(sae, X, reset=False)
    latents = _latents_of(concept, concepts, view)
    strengths = _strengths_of(strength, len(latents))
    if on == "reconstruction":
        codes = sparse.csr_array(sae._own_codes(X, device or sae.device))
        return sae.inverse_transform(codes + _added(strengths, latents, codes))
    step = strengths @ sae.components_[latents].astype(np.float64) * sae.scale_
    return (X + _lengths(sae, X) * step).astype(np.result_type(X, np.float32))


def _latents_of(concept, concepts, view):
    """The view's latent of each of the concepts."""
    numbers = np.atleast_1d(np.asarray(concept))
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"concept={concept!r} must be a number, or a list of numbers.")
    n_concepts = len(concepts.latents)
    for number in numbers:
        if not 0 <= number < n_concepts:
            raise ValueError(
                f"There is no concept {number}: they are 0 to {n_concepts - 1}."
            )
        if not concepts.present[number]:
            raise ValueError(
                f"The view {view!r} has no concept {number}: it has "
                f"{concepts.present.sum()} of the {n_concepts}."
            )
    return concepts.latents[numbers]


def _strengths_of(strength, n_concepts):
    """A strength for each of the concepts."""
    strengths = np.asarray(strength, dtype=np.float64)
    if not np.isfinite(strengths).all():
        raise ValueError(f"strength={strength!r} must be finite.")
    if strengths.ndim and strengths.shape != (n_concepts,):
        raise ValueError(
            f"strength has shape {strengths.shape} for {n_concepts} concepts: give one "
            "number, or one for each."
        )
    return np.broadcast_to(strengths, n_concepts)


def _added(strengths, latents, codes):
    """The strengths as codes, the same for each row."""
    row = np.zeros(codes.shape[1], dtype=codes.dtype)
    np.add.at(row, latents, strengths)
    rows = sparse.csr_array(row[None])
    return sparse.csr_array(np.ones((codes.shape[0], 1), dtype=codes.dtype)) @ rows


def _lengths(sae, X):
    """What normalisation to unit length divides each sample by, 1 without it."""
    if not sae.unit_length_:
        return np.ones((X.shape[0], 1))
    rows = (np.asarray(X, dtype=np.float64) - sae.offset_) / sae.scale_
    return np.linalg.norm(rows, axis=1, keepdims=True)
