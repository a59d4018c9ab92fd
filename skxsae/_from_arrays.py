"""Fitted autoencoders from arrays that were made elsewhere."""

import numpy as np

from skxsae._saving._contents import check_contents
from skxsae._topk_sae import TopKSAE

_UNIT = 1e-3  # how far from 1 the length of a direction may be


def topk_sae_from_arrays(
    *,
    components,
    encoder,
    encoder_bias,
    mean,
    k,
    activation="topk",
    threshold=None,
):
    """A fitted :class:`TopKSAE` of given weights, in the floating type of `components`.

    Samples are encoded as they are: ``normalize`` is None.

    Parameters
    ----------
    components, encoder : array-like of shape (n_latents, n_features)
        Directions of unit length, or zeros, and encoder weights.

    encoder_bias : array-like of shape (n_latents,)
        Encoder bias.

    mean : array-like of shape (n_features,)
        Pre-bias.

    k : int
        Number of active latents.

    activation : str
        One of those of :class:`TopKSAE`.

    threshold : float or array-like of shape (n_latents,), default=None
        Required by "batch_topk" and "jumprelu", which alone take it.

    Returns
    -------
    sae : TopKSAE
        What is not known of its training is NaN, 0 or empty.

    Raises
    ------
    ValueError
        If the arrays do not fit together, or have a NaN or an infinity.
    """
    components = np.array(components)
    if components.ndim != 2 or components.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"components has the type {components.dtype} and {components.ndim} "
            "dimensions: give float32 or float64 of shape (n_latents, n_features)."
        )
    _check_directions(components)
    dtype = components.dtype
    n_latents, n_features = components.shape
    sae = TopKSAE(n_latents, k, activation=activation, normalize=None)
    attributes = {
        "n_latents_": n_latents,
        "k_": k,
        "components_": components,
        "encoder_": np.array(encoder, dtype),
        "encoder_bias_": np.array(encoder_bias, dtype),
        "mean_": np.array(mean, dtype),
        "offset_": np.zeros(n_features, dtype),
        "scale_": np.array(1.0, dtype),
        "unit_length_": False,
        "activation_": activation,
        "firing_rate_": np.full(n_latents, np.nan),
        "dead_latents_": np.zeros(n_latents, dtype=bool),
        "n_iter_": 0,
        "reconstruction_err_": float("nan"),
        "loss_curve_": [],
        "n_features_in_": n_features,
    }
    if threshold is not None:
        one_for_all = np.ndim(threshold) == 0
        attributes["threshold_"] = (
            float(threshold) if one_for_all else np.array(threshold, dtype)
        )
    sae.__dict__.update(attributes)
    sae._validate_params()
    check_contents(sae, attributes)
    return sae


def _check_directions(components):
    """Refuse rows that are neither of unit length nor zero."""
    lengths = np.linalg.norm(components, axis=1)
    wrong = np.flatnonzero((lengths != 0) & ~(np.abs(lengths - 1) <= _UNIT))
    if len(wrong):
        raise ValueError(
            f"components has a row of length {lengths[wrong[0]]:.4g} in row "
            f"{wrong[0]}: divide it by its length, and multiply the row of encoder, "
            "encoder_bias and threshold by it."
        )
