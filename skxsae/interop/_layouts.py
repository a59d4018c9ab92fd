"""The layouts of other libraries: which weights and options mean what.

Written from what the libraries do, as of SAELens 6 (decoderesearch/SAELens),
dictionary_learning of March 2025 (saprmarks/dictionary_learning) and Overcomplete 0.3
(KempnerInstitute/overcomplete).
"""

import numpy as np

from skxsae.interop import _options
from skxsae.interop._options import check_known, flag, options_in
from skxsae.interop._published import Published

_BATCH_NORM_EPS = 1e-5
_TINY = 1e-8  # what Overcomplete adds to a norm


class Weights:
    """Arrays by name, each of which is used once; leftovers are refused."""

    def __init__(self, arrays):
        self._left = dict(arrays)
        self._names = ", ".join(sorted(map(str, arrays))) or "none"

    def __contains__(self, name):
        return name in self._left

    def vector(self, name):
        """An array of one axis, in float64."""
        return self._take(name, 1).astype(np.float64)

    def matrix(self, name, *, transposed=False):
        """An array of two axes, which may be large: in its own type."""
        array = self._take(name, 2)
        return array.T if transposed else array

    def number(self, name):
        """The value of an array without axes, or with one entry."""
        if name in self._left and self._left[name].size == 1:
            return float(self._left.pop(name).reshape(()))
        return float(self._take(name, 0))

    def _take(self, name, n_axes):
        if name not in self._left:
            raise ValueError(f"The weights lack {name}; there are {self._names}.")
        array = self._left.pop(name)
        if array.ndim != n_axes:
            raise ValueError(f"{name} has shape {array.shape}, but {n_axes} axes fit.")
        return array

    def drop(self, *names):
        """Leave out what has no effect on codes."""
        for name in names:
            self._left.pop(name, None)

    def check_nothing_left(self):
        """Refuse weights that would be ignored."""
        if self._left:
            raise ValueError(
                f"There are weights that a TopKSAE has no place for: "
                f"{', '.join(sorted(map(str, self._left)))}."
            )


def _option(config, name, allowed, way_out):
    """Refuse an option whose value changes codes or reconstructions."""
    value = config.get(name)
    if not any(value == one for one in allowed):
        raise ValueError(f"{name}={value!r} cannot be loaded: {way_out}")


def _one_of(value, known, name):
    """Refuse what is not known, whatever its type."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"{name} {value!r} cannot be loaded as a TopKSAE; it must be one of "
            f"{', '.join(sorted(known))}."
        )


# SAELens -----------------------------------------------------------------------------


def saelens(weights, config):
    """An autoencoder of SAELens, with the content of its cfg.json."""
    if not config:
        raise ValueError(
            "There is no cfg.json, and weights do not say what is done with them: pass "
            "its content, such as config={'architecture': 'topk', 'k': 32}."
        )
    config = _with_pre_6_names(config)
    architecture, k = _saelens_activation(config)
    known = _options.SAELENS | _options.SAELENS_WITHOUT_EFFECT
    check_known(config, known, "SAELens")
    rescaled = flag(config, "rescale_acts_by_decoder_norm", False)
    if rescaled and architecture != "topk":
        raise ValueError(
            "rescale_acts_by_decoder_norm=True cannot be loaded: it is an option of "
            f"the architecture 'topk', not of {architecture!r}."
        )
    _option(
        config,
        "normalize_activations",
        (None, False, "none"),
        "each sample is scaled by what the files do not hold, or cannot be undone. "
        "If the samples that you encode are scaled already, or the factor is folded "
        "into the weights, pass a config with normalize_activations='none'.",
    )
    _option(
        config,
        "reshape_activations",
        (None, "none"),
        "if your samples have the heads in one row, pass a config with "
        "reshape_activations='none'.",
    )
    decoder = weights.matrix("W_dec")
    factor = _finetuning_factor(decoder, weights, config)
    return Published(
        encoder=weights.matrix("W_enc", transposed=True),
        encoder_bias=weights.vector("b_enc"),
        decoder=decoder if factor is None else factor[:, None] * decoder,
        decoder_bias=weights.vector("b_dec"),
        activation={"standard": "relu"}.get(architecture, architecture),
        centred=flag(config, "apply_b_dec_to_input", True),
        k=k,
        threshold=weights.vector("threshold") if architecture == "jumprelu" else None,
        scaled_picks=rescaled,
    )


def _saelens_activation(config):
    """The architecture, and the number of active latents where it has one."""
    architecture = config.get("architecture", "standard")
    _one_of(architecture, {"standard", "topk", "jumprelu"}, "The architecture")
    activation, k = config.get("activation_fn"), config.get("k")
    _option(
        config,
        "activation_fn",
        (None, "relu") if architecture == "jumprelu" else (None, "relu", "topk"),
        f"it has no counterpart with the architecture {architecture!r}.",
    )
    options = options_in(config, "activation_fn_kwargs")
    check_known(options, {"k"}, "activation_fn_kwargs")
    if "topk" in (architecture, activation):
        architecture = "topk"
        k = _agreed(k, options.get("k"), "k in the config", "in activation_fn_kwargs")
    if k is not None and architecture != "topk":
        raise ValueError(
            f"k={k!r} in the config goes with the architecture 'topk', not with "
            f"{architecture!r}."
        )
    return architecture, k


def _agreed(one, other, where, elsewhere):
    """A value that is given in one of two places, or alike in both."""
    if None not in (one, other) and one != other:
        raise ValueError(f"{where} is {one!r}, but {elsewhere} it is {other!r}.")
    return other if one is None else one


def _with_pre_6_names(config):
    """The options, with those of before version 6 under their present names."""
    config = dict(config)
    for old, new in (
        ("activation_fn_str", "activation_fn"),
        ("hook_point", "hook_name"),
    ):
        if old in config:
            config[new] = _agreed(config.get(new), config.pop(old), new, f"as {old}")
    if "hook_z" in str(config.get("hook_name")):
        config.setdefault("reshape_activations", "hook_z")
    return config


def _finetuning_factor(decoder, weights, config):
    """What decoding multiplies each latent by, or None."""
    used = flag(config, "finetuning_scaling_factor", False)
    for name in ("finetuning_scaling_factor", "scaling_factor"):
        if name in weights:
            factor = _vector_like(decoder, weights, name)
            if not used and (factor != 1).any():
                raise ValueError(
                    f"The weights hold {name}, but finetuning_scaling_factor is off "
                    "in the config: set it to say whether it is to be used."
                )
            return factor
    if used:
        raise ValueError(
            "finetuning_scaling_factor is on in the config, but the weights hold none."
        )
    return None


# dictionary_learning -----------------------------------------------------------------


def dictionary_learning(weights, config):
    """A dictionary of dictionary_learning, with the content of its config.json."""
    trainer = options_in(config, "trainer") or config
    without_effect = _options.DICTIONARY_LEARNING_WITHOUT_EFFECT
    if trainer is not config:
        check_known(config, without_effect, "dictionary_learning")
    kind = trainer.get("dict_class")
    if kind is None:
        raise ValueError(
            "The config says no dict_class: pass one such as "
            "config={'dict_class': 'AutoEncoderTopK', 'k': 32}."
        )
    _one_of(kind, _DICTIONARIES, "The dict_class")
    known = _options.DICTIONARY_LEARNING[kind] | without_effect
    check_known(trainer, known, f"the dict_class {kind!r}")
    return _DICTIONARIES[kind](weights, trainer)


def _linear(weights, **options):
    """Weights in two layers."""
    return Published(
        encoder=weights.matrix("encoder.weight"),
        encoder_bias=weights.vector("encoder.bias"),
        decoder=weights.matrix("decoder.weight", transposed=True),
        **options,
    )


def _matrices(weights, **options):
    """Weights in two matrices, samples as rows."""
    return Published(
        encoder=weights.matrix("W_enc", transposed=True),
        encoder_bias=weights.vector("b_enc"),
        decoder=weights.matrix("W_dec"),
        decoder_bias=weights.vector("b_dec"),
        **options,
    )


def _auto_encoder(weights, trainer):
    return _linear(weights, decoder_bias=weights.vector("bias"), activation="relu")


def _auto_encoder_new(weights, trainer):
    bias = weights.vector("decoder.bias")
    return _linear(weights, decoder_bias=bias, activation="relu", centred=False)


def _auto_encoder_top_k(weights, trainer):
    k = _k_of(weights, trainer)
    weights.drop("threshold")  # for another way to encode, which is not the default
    bias = weights.vector("b_dec")
    return _linear(weights, decoder_bias=bias, activation="topk", k=k)


def _batch_top_k(weights, trainer):
    options = _batch_top_k_options(weights, trainer)
    return _linear(weights, decoder_bias=weights.vector("b_dec"), **options)


def _matryoshka(weights, trainer):
    weights.drop("group_sizes")  # of training
    return _matrices(weights, **_batch_top_k_options(weights, trainer))


def _jump_relu(weights, trainer):
    return _matrices(
        weights,
        activation="jumprelu",
        threshold=weights.vector("threshold"),
        centred=flag(trainer, "apply_b_dec_to_input", False),
    )


def _batch_top_k_options(weights, trainer):
    return {
        "activation": "batch_topk",
        "k": _k_of(weights, trainer),
        "threshold": np.array(weights.number("threshold")),
    }


def _k_of(weights, trainer):
    """Number of active latents, of the weights or of the options."""
    k = trainer.get("k")
    if "k" in weights:
        k = _agreed(int(weights.number("k")), k, "k in the weights", "in the config")
    return k


_DICTIONARIES = {
    "AutoEncoder": _auto_encoder,
    "AutoEncoderNew": _auto_encoder_new,
    "AutoEncoderTopK": _auto_encoder_top_k,
    "BatchTopKSAE": _batch_top_k,
    "JumpReluAutoEncoder": _jump_relu,
    "MatryoshkaBatchTopKSAE": _matryoshka,
}


# Overcomplete ------------------------------------------------------------------------


def overcomplete(weights, config):
    """An autoencoder of Overcomplete, with its class and the arguments of that."""
    kind = config.get("class")
    if kind is None:
        raise ValueError(
            "The state dict of Overcomplete does not say of which class it is: pass "
            "the class and its arguments, such as "
            "config={'class': 'TopKSAE', 'top_k': 32}."
        )
    _one_of(kind, _OVERCOMPLETE, "The class")
    known = _options.OVERCOMPLETE | _options.OVERCOMPLETE_OF_CLASS[kind]
    check_known(config, known, f"the class {kind!r}")
    decoder = _dictionary(weights, config)
    options = _OVERCOMPLETE[kind](weights, config, len(decoder))
    if options["activation"] == "matching_pursuit":
        _check_unit_norm(decoder)
        for name in [name for name in _ENCODER if name in weights]:
            weights.drop(name)  # it is not used
        encoder, bias = decoder, np.zeros(len(decoder))
    else:
        _check_encoder_module(weights, config)
        encoder, bias = _encoder(weights)
    return Published(encoder, bias, decoder, np.zeros(decoder.shape[1]), **options)


_NORM = "encoder.final_block.1."
_ENCODER = [
    "encoder.final_block.0.weight",
    "encoder.final_block.0.bias",
    *(_NORM + name for name in ("weight", "bias", "running_mean", "running_var")),
    _NORM + "num_batches_tracked",
]


def _check_encoder_module(weights, config):
    """Refuse an encoder that is not linear, or not the one of the weights."""
    module = config.get("encoder_module")
    _option(
        config,
        "encoder_module",
        (None, "linear", "mlp_bn_1"),
        "only a linear encoder has a counterpart, and batch normalisation behind it.",
    )
    normalised = _NORM + "running_var" in weights
    if module is not None and normalised != (module == "mlp_bn_1"):
        raise ValueError(
            f"encoder_module={module!r} in the config, but the weights have "
            f"{'a' if normalised else 'no'} batch normalisation."
        )


def _encoder(weights):
    """A linear layer, and the batch normalisation behind it folded in."""
    weight, bias = weights.matrix(_ENCODER[0]), weights.vector(_ENCODER[1])
    if _NORM + "running_var" not in weights:
        return weight, bias  # a layer norm is among what is left, and refused
    gain, shift, mean, variance = (
        _vector_like(bias, weights, _NORM + name)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    weights.drop(_NORM + "num_batches_tracked")
    gain = gain / np.sqrt(variance + _BATCH_NORM_EPS)
    return gain[:, None] * weight, gain * (bias - mean) + shift


def _vector_like(other, weights, name):
    """A vector of the length of another."""
    vector = weights.vector(name)
    if len(vector) != len(other):
        raise ValueError(f"{name} has {len(vector)} entries for {len(other)} latents.")
    return vector


def _dictionary(weights, config):
    """The rows that codes are decoded with."""
    if "dictionary.Relax" in weights:
        raise ValueError(
            "The dictionary is made of data points. Put what it makes of them in its "
            "place: drop the names that start with 'dictionary.', set "
            "'dictionary._weights' to sae.get_dictionary(), and pass "
            "'dictionary_params': {'normalization': 'identity'} in the config."
        )
    rows = weights.matrix("dictionary._weights")
    name = _dictionary_normalization(config)
    rows = rows / _DICTIONARY_NORMS[name](rows)
    if "dictionary.multiplier" in weights:  # since version 0.2
        rows = rows * np.exp(weights.number("dictionary.multiplier"))
    return rows


def _dictionary_normalization(config):
    """Name of what is done to the rows, which was an argument of its own once."""
    params = options_in(config, "dictionary_params")
    check_known(params, _options.OVERCOMPLETE_DICTIONARY, "dictionary_params")
    name = _agreed(
        config.get("dictionary_normalization"),
        params.get("normalization"),
        "dictionary_normalization in the config",
        "in dictionary_params",
    )
    name = "l2" if name is None else name
    _one_of(name, _DICTIONARY_NORMS, "The dictionary's normalization")
    return name


_DICTIONARY_NORMS = {
    "l2": lambda rows: np.linalg.norm(rows, axis=1, keepdims=True) + _TINY,
    "l1": lambda rows: np.abs(rows).sum(axis=1, keepdims=True) + _TINY,
    "max_l2": lambda rows: np.linalg.norm(rows, axis=1).max(),
    "max_l1": lambda rows: np.abs(rows).sum(axis=1).max(),
    "identity": lambda rows: 1.0,
}


def _check_unit_norm(decoder):
    norms = np.linalg.norm(decoder, axis=1)
    if (np.abs(norms - 1) > 1e-4).any():
        raise ValueError(
            "Matching pursuit is the same as that of a TopKSAE only where the rows of "
            f"the dictionary have unit norm; theirs are from {norms.min():.3g} to "
            f"{norms.max():.3g}."
        )


def _of_sae(weights, config, n_latents):
    return {"activation": "relu"}


def _of_top_k_sae(weights, config, n_latents):
    default_k = max(n_latents // 10, 1)
    return {"activation": "topk", "k": config.get("top_k"), "default_k": default_k}


def _of_batch_top_k_sae(weights, config, n_latents):
    threshold = config.get("running_threshold")
    if threshold is None:
        raise ValueError(
            "A BatchTopKSAE of Overcomplete keeps its threshold outside of the state "
            "dict: pass it as 'running_threshold' in the config."
        )
    return {"activation": "batch_topk", "threshold": _below(threshold)}


def _of_jump_sae(weights, config, n_latents):
    threshold = np.exp(weights.vector("thresholds"))
    return {"activation": "jumprelu", "threshold": _below(threshold)}


def _of_mp_sae(weights, config, n_latents):
    _option(
        config, "dropout", (None, 0), "the original drops latents at random, always."
    )
    return {"activation": "matching_pursuit", "k": config.get("k"), "default_k": 1}


def _below(threshold):
    """A threshold to exceed in place of one to reach, for activations in float32."""
    threshold = np.asarray(threshold, dtype=np.float32)
    return np.nextafter(threshold, np.float32(-1), dtype=np.float32)


_OVERCOMPLETE = {
    "BatchTopKSAE": _of_batch_top_k_sae,
    "JumpSAE": _of_jump_sae,
    "MpSAE": _of_mp_sae,
    "SAE": _of_sae,
    "TopKSAE": _of_top_k_sae,
}

LAYOUTS = {
    "dictionary_learning": dictionary_learning,
    "overcomplete": overcomplete,
    "saelens": saelens,
}
