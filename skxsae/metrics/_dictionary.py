"""Learnt dictionaries against the true feature directions."""

from numbers import Real

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils import check_array, check_consistent_length, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import check_width, unit_rows

_ROWS_PER_BATCH = 256

_PAIR = {"components": ["array-like"], "features": ["array-like"]}
_TWO_PAIRS = {
    "x_components": ["array-like"],
    "y_components": ["array-like"],
    "x_features": ["array-like"],
    "y_features": ["array-like"],
}
_TAU = {"tau": [Interval(Real, 0, 1, closed="both")]}


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def mean_correlation_coefficient(components, features):
    """Mean absolute cosine of latents and features under the best matching (MCC).

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Learnt directions. Rows of zeros or NaN are absent latents.

    features : array-like of shape (n_concepts, n_features_in)
        True directions. Rows of zeros are absent concepts.

    Returns
    -------
    float
        Sum of ``|cos|`` over the one-to-one matching that maximises it, divided by the
        smaller number of rows that are present. 1 is best.

    See Also
    --------
    mean_maximum_inner_product : The same without one-to-one matching.

    Examples
    --------
    >>> from skxsae.metrics import mean_correlation_coefficient
    >>> features = [[1.0, 0.0], [0.0, 1.0]]
    >>> mean_correlation_coefficient([[0.0, 2.0], [-1.0, 0.0]], features)
    1.0
    """
    components, features = check_pair(components, features)
    cosines = np.abs(components @ features.T)  # (n_latents, n_concepts)
    return float(cosines[linear_sum_assignment(cosines, maximize=True)].mean())


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def mean_maximum_inner_product(components, features):
    """Mean over features of the largest absolute cosine with a latent (MIP).

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Learnt directions. Rows of zeros or NaN are absent latents.

    features : array-like of shape (n_concepts, n_features_in)
        True directions. Rows of zeros are absent concepts.

    Returns
    -------
    float
        Between 0 and 1; one latent may be the best of several features.

    Examples
    --------
    >>> from skxsae.metrics import mean_maximum_inner_product
    >>> mean_maximum_inner_product([[0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]])
    0.5
    """
    components, features = check_pair(components, features)
    return float(_largest_cosines(components, features).mean())


@validate_params(_PAIR | _TAU, prefer_skip_nested_validation=True)
def recovered_feature_share(components, features, *, tau=0.9):
    """Share of the features that some latent points along.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Learnt directions. Rows of zeros or NaN are absent latents.

    features : array-like of shape (n_concepts, n_features_in)
        True directions. Rows of zeros are absent concepts.

    tau : float, default=0.9
        A feature is recovered if its largest ``|cos|`` is strictly above this. The
        published values are 0.9, 0.95 and 0.99.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> from skxsae.metrics import recovered_feature_share
    >>> recovered_feature_share([[0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]], tau=0.95)
    0.5
    """
    components, features = check_pair(components, features)
    return float(np.mean(_largest_cosines(components, features) > tau))


@validate_params(_TWO_PAIRS | _TAU, prefer_skip_nested_validation=True)
def joint_recovered_feature_share(
    x_components, y_components, x_features, y_features, *, tau=0.9
):
    """Share of the shared concepts that one aligned latent recovers in both views.

    A concept is recovered if ``max_j (|cos(v_j, phi_i)| + |cos(w_j, psi_i)|) / 2`` is
    strictly above `tau`, for the directions v_j and w_j of latent j in the two views.

    Parameters
    ----------
    x_components : array-like of shape (n_latents, n_features_x)
        Learnt directions of the first view. Rows of zeros or NaN are absent latents.

    y_components : array-like of shape (n_latents, n_features_y)
        Learnt directions of the second view, row j aligned with row j of the first.

    x_features : array-like of shape (n_concepts, n_features_x)
        True directions in the first view. Rows of zeros are absent concepts.

    y_features : array-like of shape (n_concepts, n_features_y)
        True directions of the same concepts in the second view.

    tau : float, default=0.9
        Threshold. The published values are 0.9, 0.95 and 0.99.

    Returns
    -------
    float
        Between 0 and 1, over the concepts that are present in both views.

    Examples
    --------
    >>> from skxsae.metrics import joint_recovered_feature_share
    >>> directions = [[1.0, 0.0], [0.0, 1.0]]
    >>> joint_recovered_feature_share(directions, directions, directions, directions)
    1.0
    >>> swapped = directions[::-1]
    >>> joint_recovered_feature_share(directions, swapped, directions, directions)
    0.0
    """
    x_components = check_dictionary(x_components, "x_components")
    y_components = check_dictionary(y_components, "y_components")
    check_consistent_length(x_components, y_components)
    x_features = check_directions(x_features, "x_features")
    y_features = check_directions(y_features, "y_features")
    shared = check_shared_concepts(x_features, y_features)
    check_width(x_components, x_features, "x_components", "x_features")
    check_width(y_components, y_features, "y_components", "y_features")
    present = is_present(x_components) & is_present(y_components)
    v, w = unit_rows(x_components[present]), unit_rows(y_components[present])
    phi, psi = unit_rows(x_features[shared]), unit_rows(y_features[shared])
    best = [
        (np.abs(phi[rows] @ v.T) + np.abs(psi[rows] @ w.T)).max(axis=1, initial=0.0) / 2
        for rows in gen_batches(len(phi), _ROWS_PER_BATCH)
    ]
    return float(np.mean(np.concatenate(best) > tau))


@validate_params(
    _PAIR | {"normalize": [StrOptions({"latents", "smaller"})]},
    prefer_skip_nested_validation=True,
)
def feature_uniqueness(components, features, *, normalize="latents"):
    """Number of different features that latents point along, as a share.

    Each latent is assigned to the feature with the largest absolute cosine; uniqueness
    counts the different features that are assigned to at least one latent.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Learnt directions. Rows of zeros or NaN are absent latents.

    features : array-like of shape (n_concepts, n_features_in)
        True directions. Rows of zeros are absent concepts.

    normalize : {"latents", "smaller"}, default="latents"
        Divide by the number of latents, or by the smaller of the numbers of latents
        and features, which lets a dictionary that is larger than the truth reach 1.

    Returns
    -------
    float
        Between 0 and 1. Absent rows are not counted.

    Examples
    --------
    >>> from skxsae.metrics import feature_uniqueness
    >>> components = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
    >>> feature_uniqueness(components, [[1.0, 0.0], [0.0, 1.0]])
    0.5
    >>> feature_uniqueness(components, [[1.0, 0.0], [0.0, 1.0]], normalize="smaller")
    1.0
    """
    components, features = check_pair(components, features)
    assigned = [
        np.abs(components[rows] @ features.T).argmax(axis=1)
        for rows in gen_batches(len(components), _ROWS_PER_BATCH)
    ]
    n_unique, n_latents = len(np.unique(np.concatenate(assigned))), len(components)
    size = n_latents if normalize == "latents" else min(n_latents, len(features))
    return n_unique / size


def check_dictionary(components, name):
    """Directions in float64; absent latents, of zeros or of NaN, become zeros."""
    components = check_directions(components, name, ensure_all_finite="allow-nan")
    is_nan = np.isnan(components)
    absent = is_nan.all(axis=1)
    if (is_nan.any(axis=1) & ~absent).any():
        row = int(np.flatnonzero(is_nan.any(axis=1) & ~absent)[0])
        raise ValueError(
            f"{name} has NaN in part of row {row}: an absent latent is a row of NaN or "
            "of zeros throughout."
        )
    components = np.where(absent[:, None], 0.0, components)
    if not is_present(components).any():
        raise ValueError(
            f"{name} has no latent: all {len(components)} rows are absent."
        )
    return components


def check_directions(directions, name, *, ensure_all_finite=True):
    """2-D array of directions in float64."""
    if np.ndim(directions) != 2:
        raise ValueError(
            f"{name} must be 2-dimensional, one direction per row, got "
            f"{np.ndim(directions)} dimensions."
        )
    return check_array(
        directions,
        dtype=np.float64,
        ensure_all_finite=ensure_all_finite,
        input_name=name,
    )


def is_present(directions):
    """Mask of the rows that are a direction."""
    return directions.any(axis=1)


def check_shared_concepts(x_features, y_features):
    """Mask of the concepts that are present in both views; at least one must be."""
    check_consistent_length(x_features, y_features)
    shared = is_present(x_features) & is_present(y_features)
    if not shared.any():
        raise ValueError(
            "x_features and y_features share no concept: no row is non-zero in both."
        )
    return shared


def check_pair(components, features):
    """Unit rows of the latents and the features that are present."""
    components = check_dictionary(components, "components")
    features = check_directions(features, "features")
    check_width(components, features, "components", "features")
    if not is_present(features).any():
        raise ValueError(
            f"features has no direction: all {len(features)} rows are zero."
        )
    return tuple(unit_rows(d[is_present(d)]) for d in (components, features))


def _largest_cosines(components, features):
    """Largest absolute cosine of each feature with a latent."""
    batches = gen_batches(len(features), _ROWS_PER_BATCH)
    best = [np.abs(features[rows] @ components.T).max(axis=1) for rows in batches]
    return np.concatenate(best)
