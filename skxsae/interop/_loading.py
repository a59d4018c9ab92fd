"""Files of other libraries as fitted estimators."""

import json
import os
from numbers import Integral
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae._from_arrays import topk_sae_from_arrays
from skxsae._quiet import quiet
from skxsae._views import compute_dtype
from skxsae.interop._layouts import LAYOUTS, Weights

_WEIGHT_FILES = ("sae_weights.safetensors", "ae.safetensors", "ae.pt")
_CONFIG_FILES = ("cfg.json", "config.json")
_DEFAULT_K = 32


@validate_params(
    {
        "source": [dict, str, os.PathLike],
        "layout": [StrOptions(set(LAYOUTS))],
        "config": [dict, None],
        "k": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def load_sae(source, layout, *, config=None, k=None):
    """Load an autoencoder that another library has trained.

    It becomes a :class:`TopKSAE` with the same reconstructions. The rows of its decoder
    have unit norm: where the original decodes a code with a row of another norm, the
    code is multiplied by that norm, and encoder, biases and thresholds are scaled
    alike. Where the original does so itself, codes are the same: SAELens with
    ``rescale_acts_by_decoder_norm``, and ``JumpReluAutoEncoder`` of dictionary_learning
    before version 0.1.

    Parameters
    ----------
    source : str, path-like or dict
        A folder with weights and configuration under the names that the library gives
        them, a file of weights (``.safetensors``, or a state dict that torch has
        saved), or a dict from names to arrays or tensors. Files are never unpickled
        beyond tensors.

    layout : {"saelens", "dictionary_learning", "overcomplete"}
        Library of the weights:

        - "saelens": architectures "standard", "topk" and "jumprelu" [1]_, as of
          version 6 and before;
        - "dictionary_learning": ``AutoEncoder``, ``AutoEncoderNew``,
          ``AutoEncoderTopK``, ``BatchTopKSAE``, ``MatryoshkaBatchTopKSAE`` and
          ``JumpReluAutoEncoder`` [2]_;
        - "overcomplete": ``SAE``, ``TopKSAE``, ``BatchTopKSAE``, ``JumpSAE`` and
          ``MpSAE`` with a linear encoder, with batch normalisation or without [3]_.

    config : dict or None, default=None
        Options of the original. None means those of the ``cfg.json`` or
        ``config.json`` beside the weights. Overcomplete writes no such file: give the
        name of the class as "class" and its arguments under their own names, such as
        ``{"class": "TopKSAE", "top_k": 32}``. Options that are not known are refused.

    k : int or None, default=None
        Number of active latents where neither weights nor options say it. None means
        the default of the class for ``TopKSAE`` and ``MpSAE`` of Overcomplete. It is
        needed for "topk" of the other libraries, and otherwise what matching pursuit
        would use, 32 if None.

    Returns
    -------
    sae : TopKSAE
        The autoencoder, as if it were fitted. What its training would have left behind
        is unknown: ``firing_rate_`` and ``reconstruction_err_`` are NaN and
        ``loss_curve_`` is empty.

    Raises
    ------
    ValueError
        If the files are broken, if weights are missing or left over, if an option is
        not known, or if the original does what a `TopKSAE` cannot: gates, transcoders,
        normalisation of each sample, or a "topk" among latents whose decoder rows
        differ in norm.

    See Also
    --------
    to_torch : The way back, as a plain torch module.

    Notes
    -----
    ``MpSAE`` goes on with negative steps when all correlations are negative, where
    matching pursuit with positive codes stops. With more latents than features this is
    rare.

    References
    ----------
    .. [1] https://github.com/decoderesearch/SAELens
    .. [2] https://github.com/saprmarks/dictionary_learning
    .. [3] https://github.com/KempnerInstitute/overcomplete

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.interop import load_sae
    >>> rng = np.random.default_rng(0)
    >>> weights = {"encoder.weight": rng.normal(size=(8, 4)),
    ...     "encoder.bias": np.zeros(8), "decoder.weight": rng.normal(size=(4, 8)),
    ...     "bias": np.zeros(4)}
    >>> sae = load_sae(weights, "dictionary_learning",
    ...     config={"dict_class": "AutoEncoder"})
    >>> sae.activation_, sae.transform(np.ones((3, 4))).shape
    ('relu', (3, 8))
    """
    arrays, config = _read(source, config)
    weights = Weights(arrays)
    with np.errstate(all="ignore"):  # what has overflowed is refused at the end
        published = LAYOUTS[layout](weights, config)
        weights.check_nothing_left()
        published.check_shapes()
        return _fitted(published, k)


def _read(source, config):
    """Arrays by name and options, of a folder, a file or as they are given."""
    if isinstance(source, dict):
        return _as_arrays(source), config or {}
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        path = _first_there(path, _WEIGHT_FILES)
        if path is None:
            raise FileNotFoundError(
                f"There is none of {', '.join(_WEIGHT_FILES)} in {folder}: give the "
                "path of the file with the weights."
            )
    if config is None:
        config_file = _first_there(folder, _CONFIG_FILES)
        config = {} if config_file is None else _read_config(config_file)
    return _as_arrays(_read_weights(path)), config


def _first_there(folder, names):
    """The first of some files that exists, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_config(path):
    """Options of a JSON file."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}, but no options.")
    return config


def _read_weights(path):
    """Tensors by name, of a file that is not trusted."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    is_safetensors = path.suffix == ".safetensors"
    try:
        if is_safetensors:
            return load_file(path)
        with quiet():  # of what torch would rather have in a file
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a broken file can raise anything
        way_out = "" if is_safetensors else " Save a state_dict(), not the model."
        raise ValueError(
            f"{path} cannot be read as tensors alone: {error}{way_out}"
        ) from error
    if not isinstance(weights, dict):
        raise ValueError(
            f"{path} holds a {type(weights).__name__}, but no state dict: save the "
            "state_dict() of the model."
        )
    return weights


def _as_arrays(weights):
    """Arrays by name in float32, or float64 where that is what they are, all finite."""
    arrays = {}
    for name, value in weights.items():
        array = np.asarray(
            _as_array(name, value) if isinstance(value, torch.Tensor) else value
        )
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} is no array of numbers, but {array.dtype}.")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has entries that are NaN or infinite.")
        arrays[name] = array.astype(compute_dtype(array), copy=False)
    return arrays


def _as_array(name, tensor):
    """An array of a tensor of any floating type."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ValueError(f"{name} is no dense tensor.")
    if tensor.is_complex():
        raise ValueError(f"{name} is no array of numbers, but {tensor.dtype}.")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but less is stored.")
    tensor = tensor.detach().cpu().resolve_neg()
    return (tensor.float() if tensor.dtype != torch.float64 else tensor).numpy()


def _fitted(published, k):
    """An estimator that has been fitted to what is published."""
    k = _n_active(published, k, len(published.decoder))
    return topk_sae_from_arrays(k=k, **published.in_unit_norm())


def _n_active(published, k, n_latents):
    """Number of active latents, of the original or as it is given."""
    of_original = published.k
    if of_original is not None and k not in (None, of_original):
        raise ValueError(f"k={k} was given, but the weights are for k={of_original}.")
    k = next((n for n in (of_original, k, published.default_k) if n is not None), None)
    if k is None:
        if published.activation == "topk":
            raise ValueError("Neither weights nor options say k: pass it.")
        return min(_DEFAULT_K, n_latents)
    is_number = isinstance(k, int | float | np.integer) and not isinstance(k, bool)
    if not is_number or k != np.floor(k) or not 1 <= k <= n_latents:
        raise ValueError(f"k={k} must be an integer from 1 to {n_latents}.")
    return int(k)
