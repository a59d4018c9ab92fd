"""Whether the stream of a saved estimator can go on."""

import copy

import numpy as np
from sklearn.base import clone

from skxsae._saving._checks import array, told


def check_stream(estimator):
    """Rows that wait and a state of the training, as a stream would go on from."""
    stream = estimator._stream
    if stream.pending is None:
        raise ValueError("has a _stream without rows that wait")
    widths = [estimator.n_features_in_]
    if hasattr(estimator, "_n_features_of_y"):
        widths.append(estimator._n_features_of_y)
    sizes: dict = {}
    if len(stream.pending) != len(widths):
        raise ValueError(f"has a _stream of {len(stream.pending)} views")
    for rows, width in zip(stream.pending, widths, strict=True):
        array("f", "rows", width)(rows, sizes)
    for normalization, width in zip(stream.normalizations or [], widths, strict=False):
        array("f", width)(normalization.offset, {})
    if stream.trainer_state is not None:
        _check_trainer_state(estimator, stream)


def _check_trainer_state(estimator, stream):
    """Tensors of the shapes of a new fit of the same model."""
    sae = getattr(estimator, "x_sae_", estimator)
    if stream.sizes != (getattr(sae, "n_latents_", None), getattr(sae, "k_", None)):
        raise ValueError(f"has a _stream of the sizes {stream.sizes}")
    trainer = _new_trainer(estimator, stream)
    _check_alike(stream.trainer_state, trainer.state())
    try:
        trainer.load(stream.trainer_state)
    except RuntimeError as error:  # a generator that is none
        raise ValueError(f"has a _stream that does not go on: {error}") from error


def _new_trainer(estimator, stream):
    """What trains the model of a stream, before its first step."""
    new = copy.copy(stream)
    new.trainer_state = None
    small = clone(estimator).set_params(device="cpu", random_state=0)
    rows = [np.zeros((2, X.shape[1]), X.dtype) for X in stream.pending]
    return new._start_or_resume(small, rows, []).trainer


def _check_alike(value, expected):
    """The same types, names and shapes, all the way down."""
    if type(value) is not type(expected):
        raise ValueError(f"has {told(value)} in its _stream, not {told(expected)}")
    if isinstance(expected, dict):
        if set(value) != set(expected):
            raise ValueError(f"has the entries {sorted(value)} in its _stream")
        for name in expected:
            _check_alike(value[name], expected[name])
    elif isinstance(expected, (list, tuple)):
        if len(value) != len(expected):
            raise ValueError(f"has {len(value)} parts in its _stream")
        for part, other in zip(value, expected, strict=True):
            _check_alike(part, other)
    elif isinstance(expected, np.ndarray):
        same = value.dtype == expected.dtype and value.shape == expected.shape
        # the state of a generator has the length of its device
        if not same and not value.dtype == expected.dtype == np.uint8:
            raise ValueError(
                f"has an array of {value.dtype} and shape {value.shape} in its "
                f"_stream, not of {expected.dtype} and {expected.shape}"
            )
        if not np.isfinite(value).all():
            raise ValueError("has a NaN or an infinity in its _stream")
