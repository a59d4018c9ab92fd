"""The five metrics of the heterogeneity paper, appendix D.3."""

import numpy as np
from sklearn.utils import check_consistent_length, gen_batches
from sklearn.utils._param_validation import validate_params

from skxsae.metrics._codes import (
    check_paired_codes,
    check_width,
    paired_cosines,
    unit_rows,
)
from skxsae.metrics._dictionary import (
    check_dictionary,
    check_directions,
    check_shared_concepts,
    is_present,
)
from skxsae.metrics._reconstruction import mean_squared_reconstruction_error

_ROWS_PER_BATCH = 256

_RECONSTRUCTIONS = {
    "X": ["array-like"],
    "X_hat": ["array-like"],
    "y": ["array-like"],
    "y_hat": ["array-like"],
}
_FEATURES = {
    "x_features": ["array-like"],
    "x_features_hat": ["array-like"],
    "y_features": ["array-like"],
    "y_features_hat": ["array-like"],
}
_CODES = {"X": ["array-like", "sparse matrix"], "y": ["array-like", "sparse matrix"]}


@validate_params(_RECONSTRUCTIONS, prefer_skip_nested_validation=True)
def reconstruction_error(X, X_hat, y, y_hat):
    """Mean over both views of the squared reconstruction error of a row.

    ``(E ||x - x_hat||^2 + E ||y - y_hat||^2) / 2``, metric (i) of [1]_.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features_x)
        Inputs of the first view.

    X_hat : array-like of shape (n_samples, n_features_x)
        Their reconstructions.

    y : array-like of shape (n_samples, n_features_y)
        Inputs of the second view.

    y_hat : array-like of shape (n_samples, n_features_y)
        Their reconstructions.

    Returns
    -------
    float
        Mean over rows and views, summed over features. Lower is better.

    See Also
    --------
    fraction_of_variance_unexplained : The error of one view relative to its variance.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, appendix D.3.

    Examples
    --------
    >>> from skxsae.metrics import reconstruction_error
    >>> reconstruction_error([[1.0, 0.0]], [[0.5, 0.0]], [[2.0]], [[2.0]])
    0.125
    """
    check_consistent_length(X, y)
    return 0.5 * (
        mean_squared_reconstruction_error(X, X_hat)
        + mean_squared_reconstruction_error(y, y_hat)
    )


@validate_params(_FEATURES, prefer_skip_nested_validation=True)
def feature_recovery_error(x_features, x_features_hat, y_features, y_features_hat):
    """Reconstruction error of the true feature directions.

    Metric (ii) of [1]_: the reconstruction error with the directions of the concepts as
    inputs, over the concepts that are present in both views.

    Parameters
    ----------
    x_features : array-like of shape (n_concepts, n_features_x)
        True directions in the first view. Rows of zeros are absent concepts.

    x_features_hat : array-like of shape (n_concepts, n_features_x)
        What the model makes of them: `inverse_transform` of their codes. For the form
        with one active latent, of `keep_top_k` of their codes with ``k=1``.

    y_features : array-like of shape (n_concepts, n_features_y)
        True directions of the same concepts in the second view.

    y_features_hat : array-like of shape (n_concepts, n_features_y)
        What the model makes of them.

    Returns
    -------
    float
        Mean over shared concepts and views, summed over features. Lower is better.

    See Also
    --------
    feature_recovery_score : One minus this, for directions of unit length.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, appendix D.3.

    Examples
    --------
    The second concept is absent from the second view and does not count.

    >>> from skxsae.metrics import feature_recovery_error
    >>> phi, psi = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]
    >>> phi_hat, psi_hat = [[0.5, 0.0], [0.0, 0.0]], [[0.0, 1.0], [9.0, 9.0]]
    >>> feature_recovery_error(phi, phi_hat, psi, psi_hat)
    0.125
    """
    error, _, n_shared = _recovery(
        x_features, x_features_hat, y_features, y_features_hat
    )
    return 0.5 * error / n_shared


@validate_params(_FEATURES, prefer_skip_nested_validation=True)
def feature_recovery_score(x_features, x_features_hat, y_features, y_features_hat):
    """Share of the squared length of the true directions that is recovered.

    ``1 - sum (||phi - phi_hat||^2 + ||psi - psi_hat||^2) / sum (||phi||^2 +
    ||psi||^2)`` over the concepts that are present in both views: one minus
    :func:`feature_recovery_error` where directions have unit length.

    Parameters
    ----------
    x_features : array-like of shape (n_concepts, n_features_x)
        True directions in the first view. Rows of zeros are absent concepts.

    x_features_hat : array-like of shape (n_concepts, n_features_x)
        What the model makes of them: `inverse_transform` of their codes.

    y_features : array-like of shape (n_concepts, n_features_y)
        True directions of the same concepts in the second view.

    y_features_hat : array-like of shape (n_concepts, n_features_y)
        What the model makes of them.

    Returns
    -------
    float
        1 is best; 0 for a model that returns zeros.

    See Also
    --------
    make_feature_recovery_scorer : The same as a scorer of paired estimators.

    Examples
    --------
    >>> from skxsae.metrics import feature_recovery_score
    >>> phi, psi = [[1.0, 0.0]], [[0.0, 1.0]]
    >>> feature_recovery_score(phi, [[0.5, 0.0]], psi, psi)
    0.875
    """
    error, scale, _ = _recovery(x_features, x_features_hat, y_features, y_features_hat)
    return 1.0 - error / scale


@validate_params(_CODES, prefer_skip_nested_validation=True)
def latent_alignment_error(X, y):
    """One minus the mean cosine of the codes of a pair.

    Metric (iii) of [1]_. The cosine with an all-zero code is 0.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    y : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Aligned codes of the second view.

    Returns
    -------
    float
        0 where the codes of every pair are proportional, 1 where they share no latent.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, appendix D.3.

    Examples
    --------
    >>> from skxsae.metrics import latent_alignment_error
    >>> latent_alignment_error([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 0.0]])
    0.5
    """
    X, y = check_paired_codes(X, y)
    return float(1.0 - paired_cosines(X, y).mean())


@validate_params(_CODES, prefer_skip_nested_validation=True)
def feature_alignment_error(X, y):
    """One minus the mean cosine of the codes of the same concept in both views.

    Metric (iv) of [1]_: :func:`latent_alignment_error` with the codes of the true
    feature directions in place of those of samples.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_shared, n_latents)
        Codes of the directions, in the first view, of the concepts that both views
        share. For the form with one active latent, `keep_top_k` of them with ``k=1``.

    y : {array-like, sparse matrix} of shape (n_shared, n_latents)
        Aligned codes of the directions of the same concepts in the second view.

    Returns
    -------
    float
        0 where both directions of every concept activate the same latents alike.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, appendix D.3.

    Examples
    --------
    >>> from skxsae.metrics import feature_alignment_error, keep_top_k
    >>> X, y = [[1.0, 0.5], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> feature_alignment_error(keep_top_k(X, 1), keep_top_k(y, 1))
    0.0
    """
    return latent_alignment_error(X, y)


@validate_params(
    {
        "x_components": ["array-like"],
        "y_components": ["array-like"],
        "x_features": ["array-like"],
        "y_features": ["array-like"],
    },
    prefer_skip_nested_validation=True,
)
def feature_collapse_rate(x_components, y_components, x_features, y_features):
    """Share of the concepts whose two directions are nearest to the same latent.

    Metric (v) of [1]_: how often ``argmax_j cos(v_j, phi_i)`` equals ``argmax_j
    cos(w_j, psi_i)`` for the latent directions v_j and w_j of the two views, over the
    concepts i that are present in both. It tells whether a dictionary has merged the
    two directions of a concept into one latent.

    Parameters
    ----------
    x_components : array-like of shape (n_latents_x, n_features_x)
        Learnt directions of the first view. Rows of zeros or NaN are absent latents.

    y_components : array-like of shape (n_latents_y, n_features_y)
        Learnt directions of the second view; for a shared dictionary, the same array
        again.

    x_features : array-like of shape (n_concepts, n_features_x)
        True directions in the first view. Rows of zeros are absent concepts.

    y_features : array-like of shape (n_concepts, n_features_y)
        True directions of the same concepts in the second view.

    Returns
    -------
    float
        Between 0 and 1. Of equally near latents the first counts.

    Notes
    -----
    Two separate dictionaries enter as they were trained, in their own order. Once one
    has been permuted to match the other, equal indices mean alignment, not collapse,
    and a perfect alignment would have a rate of 1.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, appendix D.3.

    Examples
    --------
    One latent between the two directions of the only concept, then one for each.

    >>> from skxsae.metrics import feature_collapse_rate
    >>> phi, psi = [[1.0, 0.0]], [[0.6, 0.8]]
    >>> merged, split = [[0.9, 0.4], [-1.0, 0.0]], [[1.0, 0.0], [0.6, 0.8]]
    >>> feature_collapse_rate(merged, merged, phi, psi)
    1.0
    >>> feature_collapse_rate(split, split, phi, psi)
    0.0
    """
    x_features = check_directions(x_features, "x_features")
    y_features = check_directions(y_features, "y_features")
    shared = check_shared_concepts(x_features, y_features)
    x_features, y_features = x_features[shared], y_features[shared]
    x_nearest = _nearest_latents(x_components, x_features, "x")
    y_nearest = _nearest_latents(y_components, y_features, "y")
    return float(np.mean(x_nearest == y_nearest))


def _recovery(x_features, x_features_hat, y_features, y_features_hat):
    """Squared error and squared length over the shared concepts, and their number."""
    phi, phi_hat = _check_recovered(x_features, x_features_hat, "x_features")
    psi, psi_hat = _check_recovered(y_features, y_features_hat, "y_features")
    shared = check_shared_concepts(phi, psi)
    phi, phi_hat, psi, psi_hat = (a[shared] for a in (phi, phi_hat, psi, psi_hat))
    error = np.sum((phi - phi_hat) ** 2) + np.sum((psi - psi_hat) ** 2)
    return float(error), float(np.sum(phi**2) + np.sum(psi**2)), len(phi)


def _check_recovered(features, features_hat, name):
    """Directions and their reconstructions in float64, of one shape."""
    features = check_directions(features, name)
    features_hat = check_directions(features_hat, f"{name}_hat")
    if features.shape != features_hat.shape:
        raise ValueError(
            f"{name} has shape {features.shape} and {name}_hat {features_hat.shape}: "
            "a reconstruction has the shape of its input."
        )
    return features, features_hat


def _nearest_latents(components, features, name):
    """Index of the latent with the largest cosine with each feature."""
    components = check_dictionary(components, f"{name}_components")
    check_width(components, features, f"{name}_components", f"{name}_features")
    absent = ~is_present(components)
    components, features = unit_rows(components), unit_rows(features)
    nearest = []
    for rows in gen_batches(len(features), _ROWS_PER_BATCH):
        cosines = features[rows] @ components.T
        cosines[:, absent] = -np.inf
        nearest.append(cosines.argmax(axis=1))
    return np.concatenate(nearest)
