"""What tells one model from another."""

import hashlib

import numpy as np
import torch

_SIMPLE = (bool, int, float, str, type(None))


def model_fingerprint(module, batch, *settings):
    """SHA-256 of a module, of its input for a few fixed entries, and of settings.

    The input stands for the preprocessing or the tokenizer, which may be any function.
    What the module computes with its weights is not seen here but in its output for
    these entries, which rounding changes: see `output_distance`.
    """
    total = hashlib.sha256(repr(settings).encode())
    for name, part in module.named_modules():
        total.update(repr((name, type(part).__qualname__, _settings(part))).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        total.update(name.encode())
        _update(total, tensor)
    _update(total, batch)
    return total.digest()


def output_distance(first, second):
    """Largest distance of two outputs for an entry, relative to their length.

    Rounding differs with the device and its libraries, so that outputs of one model are
    close but not equal. An entry that the module does not take has NaN in both, and not
    all may be such.
    """
    is_number = np.isfinite(first)
    if not is_number.any() or (is_number != np.isfinite(second)).any():
        return np.inf
    first, second = (
        np.where(is_number, each, 0).astype(np.float64) for each in (first, second)
    )
    lengths = np.maximum(*(np.linalg.norm(each, axis=1) for each in (first, second)))
    # a sum that nearly cancels out has the error of its summands
    scales = lengths + 1e-3 * lengths.max()
    distances = np.linalg.norm(first - second, axis=1)
    return np.divide(distances, scales, out=distances, where=scales > 0).max()


def _settings(part):
    """What configures a module besides its weights, such as its number of heads."""
    values = {
        name: value
        for name, value in vars(part).items()
        if isinstance(value, _SIMPLE) and name != "training"
    }
    return part.extra_repr(), sorted(values.items())


def _update(total, values):
    """Add a tensor, or a mapping of tensors, to the digest."""
    if hasattr(values, "keys"):
        for name in sorted(values.keys()):
            total.update(name.encode())
            _update(total, values[name])
        return
    tensor = torch.as_tensor(values).detach().cpu().contiguous()
    total.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
    total.update(tensor.reshape(-1).view(torch.uint8).numpy())
