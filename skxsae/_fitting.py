"""From the parameters of an estimator and its arrays to fitted attributes."""

import logging
import math

import numpy as np
import torch

from skxsae._activations import Weights, threshold_of
from skxsae._callbacks import PassCallbacks
from skxsae._distributed import ALONE, Peers, peers
from skxsae._initial_weights import initial_weights
from skxsae._losses import ALIGNMENTS, PUBLISHED_WEIGHTS, dense_alignment
from skxsae._trainer import Settings, Trainer, tied
from skxsae._training import Record, train
from skxsae._validation import description, resolve_device
from skxsae._views import (
    View,
    blocks_of,
    compute_dtype,
    fit_normalization,
    held_on_device,
    loaded,
    row_blocks,
    some_rows,
    warn_of_few_blocks,
)

logger = logging.getLogger("skxsae")

_ROWS_PER_LATENT = 8
_LATENTS_PER_FEATURE = 8
_LATENTS_PER_ACTIVE = 16
_ROWS_SEEN = 1_000_000
DEAD_AFTER = 2**18
_SAMPLE = 1024
_TAKEN_AS_GIVEN = (
    "activation",
    "loss",
    "batch_size",
    "learning_rate",
    "schedule",
    "fit_intercept",
    "aux_weight",
    "precision",
    "positive_code",
)


def count_distinct_rows(X, at_most):
    """Number of distinct rows of X, counted up to `at_most`."""
    seen: set[int] = set()
    for rows in row_blocks(X):
        for row in X[rows]:
            seen.add(hash(np.ascontiguousarray(row).tobytes()))
            if len(seen) >= at_most:
                return len(seen)
    return len(seen)


def resolve_n_latents(n_latents, k, arrays):
    """Numbers of latents and of active latents of a fit on one or two views.

    Under "auto" both views are as large as the one with fewer distinct rows or columns
    allows, for what has no counterpart stays unmatched.
    """
    return min(_resolve_for_view(n_latents, k, X) for X in arrays)


def _resolve_for_view(n_latents, k, X):
    """Numbers of latents and of active latents of one view alone."""
    if n_latents != "auto":
        if k > n_latents:
            raise ValueError(
                f"k={k} must be <= n_latents={n_latents}: no more latents can be "
                "active than there are. Lower k or raise n_latents."
            )
        return int(n_latents), int(k)
    most = _LATENTS_PER_FEATURE * X.shape[1]
    n_rows = count_distinct_rows(X, at_most=_ROWS_PER_LATENT * most)
    return _auto_sizes(min(most, n_rows / _ROWS_PER_LATENT), k)


def _auto_sizes(n_latents, k):
    """The nearest power of two, and `k` or what it has room for."""
    n_latents = 2 ** round(math.log2(max(2, n_latents)))
    return n_latents, int(min(k, max(1, n_latents // _LATENTS_PER_ACTIVE)))


def n_latents_of_a_stream(params, arrays):
    """Numbers of latents and of active latents where more rows are to come."""
    n_latents, k = params["n_latents"], params["k"]
    if n_latents != "auto":
        return resolve_n_latents(n_latents, k, arrays)
    return _auto_sizes(_LATENTS_PER_FEATURE * min(X.shape[1] for X in arrays), k)


def resolve_max_iter(max_iter, n_rows):
    """Number of passes over `n_rows` rows."""
    if max_iter != "auto":
        return max_iter
    return min(max(math.ceil(_ROWS_SEEN / n_rows), 10), 1000)


def resolve_alignment(params, n_latents):
    """Alignment term of two sparse codes, its weight, and the masking rate."""
    name, weight = params.get("alignment", "none"), params.get("alignment_weight", 0.0)
    if name == "auto":
        name = "group_sparse" if params["coupling"] == "shared" else "none"
    if name == "none":
        term, weight = None, 0.0
    elif callable(name):
        term = dense_alignment(name, n_latents)
        weight = 1.0 if weight == "auto" else weight
    else:
        term = ALIGNMENTS[name]
        if weight == "auto" and params["loss"] != "fvu":
            raise ValueError(
                f"alignment_weight='auto' is known for loss='fvu' only, not for "
                f"loss={params['loss']!r}, whose scale depends on the data: give a "
                "number."
            )
        if weight == "auto" and name not in PUBLISHED_WEIGHTS:
            raise ValueError(
                f"alignment_weight='auto' is not known for alignment={name!r}: give a "
                "number."
            )
        weight = PUBLISHED_WEIGHTS[name] if weight == "auto" else weight
    return {
        "alignment": term,
        "alignment_weight": weight,
        "mask_rate": params.get("mask_rate", 0.0),
    }


class Fit:
    """The autoencoders of an estimator and what trains them, before the first step.

    Parameters are read from `estimator`. The first rows of each view say where pre-bias
    and encoder start.
    """

    def __init__(self, estimator, views, sizes, dead_after, rng):
        self.views = views
        params = estimator.get_params(deep=False)
        settings = _settings(params, views, sizes, dead_after)
        sample = some_rows(views[0], _SAMPLE, rng)
        weights = initial_weights(
            sizes[0],
            [view[sample] for view in views],
            _pre_biases(params, [view.moments[0] for view in views]),
            settings,
            rng,
        )
        seed = rng.randint(2**31 - 1)
        self.trainer = Trainer(weights, settings, seed, views[0].peers)

    def description(self, estimator, max_iter: int) -> dict:
        """What must be the same for a fit to go on from a state."""
        params = estimator.get_params(deep=False)
        blocks = blocks_of(self.views)
        return {
            **description(params, estimator, [view.X for view in self.views]),
            "number of passes": max_iter,
            "number of latents": self.trainer.n_latents,
            "number of active latents": self.trainer.settings.k,
            # they decide which rows meet in a batch
            "block of rows": [blocks.block_rows, blocks.chunk_rows] if blocks else None,
            "number of processes": self.views[0].peers.size if blocks else None,
        }

    def attributes(self, record: Record) -> list[dict]:
        """Fitted attributes of each view, as NumPy arrays."""
        return [
            _attributes(view, weights, record, i, self.trainer.settings)
            for i, (view, weights) in enumerate(
                zip(self.views, self.trainer.weights, strict=True)
            )
        ]


def fit_dictionary(estimator, arrays):
    """Train the autoencoders of one or two views.

    Callbacks of `estimator` hear of every pass. Returns one dict of fitted attributes
    for each view.
    """
    name, together = type(estimator).__name__, peers()
    arrays = [loaded(X) for X in arrays]
    n_rows = arrays[0].shape[0]
    if n_rows < together.size:
        raise ValueError(
            f"{n_rows} rows are too few for {together.size} processes: each needs one."
        )
    max_iter = resolve_max_iter(estimator.max_iter, n_rows)
    params = estimator.get_params(deep=False)
    with together.agreeing():
        device = resolve_device(estimator.device)
    rng = together.random_state(estimator.random_state)
    sizes = resolve_n_latents(estimator.n_latents, estimator.k, arrays)
    views = make_views(params, arrays, device, together)
    warn_of_few_blocks(views)
    fit = Fit(estimator, views, sizes, min(n_rows, DEAD_AFTER), rng)
    logger.info(
        "%s: %d latents, k=%d, %d passes over %d rows on %s",
        name,
        fit.trainer.n_latents,
        fit.trainer.settings.k,
        max_iter,
        n_rows,
        device,
    )
    with together.agreeing():
        callbacks = PassCallbacks(estimator, max_iter, *arrays)
        saved = callbacks.state_file(
            lambda: fit.description(estimator, max_iter), together
        )

    def end_of_pass(record):
        logger.debug(
            "%s: pass %d of %d, fvu %.4f", name, record.n_iter, max_iter, record.fvu
        )
        return callbacks.end_pass(
            lambda: estimator._reconstruct(fit.attributes(record)),
            is_last=record.n_iter == max_iter,
        )

    record = train(views, fit.trainer, max_iter, rng, end_of_pass, saved)
    attributes = fit.attributes(record)
    with together.agreeing():
        callbacks.end_fit(estimator._reconstruct(attributes))
    return attributes


def make_views(
    params: dict, arrays: list, device: str, peers: Peers = ALONE
) -> list[View]:
    """Both views under the normalisation of each or of the rows of both."""
    name, held = params["normalize"], held_on_device(arrays, device)
    if params.get("statistics") == "pooled":
        normalizations = [fit_normalization(name, held, peers)] * len(arrays)
    else:
        normalizations = [fit_normalization(name, [X], peers) for X in held]
    return normalised_views(arrays, normalizations, device, held, peers)


def normalised_views(
    arrays, normalizations, device, held=None, peers=ALONE
) -> list[View]:
    """Views that are trained together, in one floating type."""
    dtype = compute_dtype(*arrays)
    views = [
        View(X, normalization, device, dtype, peers)
        for X, normalization in zip(arrays, normalizations, strict=True)
    ]
    for view, rows in zip(views, held or [], strict=False):
        view.resident = rows if isinstance(rows, torch.Tensor) else None
    return views


def _pre_biases(params: dict, means: list[torch.Tensor]) -> list[torch.Tensor]:
    """Where the pre-bias of each view starts; a pooled one is the same tensor."""
    if not params["fit_intercept"]:
        means = [torch.zeros_like(mean) for mean in means]
    if params.get("statistics") == "pooled":
        return [torch.stack(means).mean(0)] * len(means)
    return means


def _settings(params, views, sizes, dead_after) -> Settings:
    """What the training loop needs to know."""
    n_latents, k = sizes
    n_features = min(view.X.shape[1] for view in views)
    return Settings(
        k=k,
        aux_k=params["aux_k"] or max(1, n_features // 2),
        dead_after=dead_after,
        coupling=params.get("coupling", "shared"),
        **{name: params[name] for name in _TAKEN_AS_GIVEN},
        **resolve_alignment(params, n_latents),
    )


def _attributes(
    view: View, weights: Weights, record: Record, index: int, settings: Settings
) -> dict:
    """Fitted attributes of a single-view autoencoder, as NumPy arrays."""
    rate = record.firing_rate[index]
    attributes = {
        "n_latents_": len(weights.decoder),
        "k_": settings.k,
        "components_": _to_numpy(weights.decoder),
        "encoder_": _to_numpy(tied(weights, settings.activation).encoder),
        "encoder_bias_": _to_numpy(weights.encoder_bias),
        "mean_": _to_numpy(weights.pre_bias),
        "offset_": view.normalization.offset.astype(view.dtype),
        "scale_": view.normalization.scale.astype(view.dtype),
        "unit_length_": view.normalization.unit_length,
        "activation_": settings.activation,
        "firing_rate_": _to_numpy(rate),
        "dead_latents_": _to_numpy(rate == 0),
        "n_iter_": record.n_iter,
        "reconstruction_err_": record.fvu,
        "loss_curve_": list(record.loss_curve),
    }
    if settings.activation == "batch_topk":
        attributes["threshold_"] = float(record.threshold[index])
    elif settings.activation == "jumprelu":
        attributes["threshold_"] = _to_numpy(threshold_of(weights.level))
    return attributes


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A copy on the host."""
    return tensor.detach().cpu().numpy().copy()
