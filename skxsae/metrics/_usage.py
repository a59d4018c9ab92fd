"""Learnt dictionaries and codes against true ones, under optimal transport."""

import numpy as np
from sklearn.utils._param_validation import validate_params

from skxsae._affinity import affinity
from skxsae._coactivation import Coactivation, Marginals, Product, as_codes
from skxsae.metrics._codes import check_codes
from skxsae.metrics._dictionary import check_pair
from skxsae.metrics._stability import best_matching, match_directions
from skxsae.metrics._transport import exact_plan


@validate_params(
    {"components": ["array-like"], "features": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def dictionary_distance(components, features):
    """Wasserstein distance between the directions of two dictionaries.

    Every direction of a dictionary has the same mass, and moving mass costs one minus
    the cosine. The iso-energy paper [1]_ prints such a distance without its cost.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Learnt directions, of any length. Rows of zeros or NaN are absent latents.

    features : array-like of shape (n_concepts, n_features_in)
        True directions. Rows of zeros are absent concepts.

    Returns
    -------
    float
        Between 0, for equal sets of directions, and 2.

    Raises
    ------
    ImportError
        If the numbers of directions differ and POT is not installed.

    See Also
    --------
    mean_matching_accuracy : The same for how the directions are used.
    stability_score : The mean cosine of matched directions.

    Notes
    -----
    With equal numbers of directions the cheapest transport is a one-to-one matching,
    which is exact and needs no further package. With unequal numbers each direction of
    the smaller set takes the mass of several, and none is left out as it would be in a
    matching; this is solved exactly by POT (``pip install 'skxsae[ot]'``) on a matrix
    of all costs.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix C.2.

    Examples
    --------
    >>> from skxsae.metrics import dictionary_distance
    >>> truth = [[1.0, 0.0], [0.0, 1.0]]
    >>> round(dictionary_distance([[0.0, 2.0], [3.0, 4.0]], truth), 6)
    0.2
    """
    components, features = check_pair(components, features)
    if len(components) == len(features):
        return float(1.0 - match_directions(components, features)[2].mean())
    cost = np.maximum(1.0 - components @ features.T, 0.0)
    of_latents, of_features = (np.full(n, 1.0 / n) for n in cost.shape)
    caller = "dictionary_distance with unequal numbers of directions"
    advice = "Compare fewer directions"
    plan = exact_plan(of_latents, of_features, cost, caller, advice)
    return float(np.sum(plan * cost))


@validate_params(
    {
        "codes": ["array-like", "sparse matrix"],
        "true_codes": ["array-like", "sparse matrix"],
    },
    prefer_skip_nested_validation=True,
)
def mean_matching_accuracy(codes, true_codes):
    """Mean cosine of how latents and concepts are used, under the best matching.

    A latent is matched with the concept whose column of activations is most similar,
    one to one, so that the sum of the cosines is largest.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Learnt codes. For two views, the rows of one below those of the other.

    true_codes : {array-like, sparse matrix} of shape (n_samples, n_concepts)
        True codes of the same samples.

    Returns
    -------
    float
        Sum of the cosines of the matched columns, divided by the smaller number of
        columns. A column of zeros has cosine 0 with all. 1 is best, and neither the
        order of the columns nor their scales matter.

    Raises
    ------
    ValueError
        If the numbers of samples differ.

    See Also
    --------
    dictionary_distance : The same for the directions.

    Notes
    -----
    This is the mean matching accuracy, "mma", of the iso-energy paper. The matching is
    exact. It is found from the most promising pairs; if these are too many, from a
    matrix of all pairs, 512 MiB for 8,192 latents and concepts.

    Examples
    --------
    >>> from skxsae.metrics import mean_matching_accuracy
    >>> truth = [[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]]
    >>> round(mean_matching_accuracy([[0.0, 2.0], [0.0, 2.0], [1.0, 0.0]], truth), 6)
    1.0
    """
    codes = as_codes(check_codes(codes, "codes"))
    truth = as_codes(check_codes(true_codes, "true_codes"))
    if codes.shape[0] != truth.shape[0]:
        raise ValueError(
            f"codes has {codes.shape[0]} rows and true_codes has {truth.shape[0]}: "
            "both must be codes of the same samples."
        )
    marginals = Marginals.from_codes(codes), Marginals.from_codes(truth)
    cosines = affinity(Coactivation(*marginals, Product(codes, truth)), "cosine")
    return float(np.mean(best_matching(cosines)[2]))
