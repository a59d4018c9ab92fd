"""What tells one model from another."""

import hashlib

import torch

_SIMPLE = (bool, int, float, str, type(None))


def model_fingerprint(module, batch, *settings):
    """SHA-256 of a module, of its input for a few fixed entries, and of settings.

    The input stands for the preprocessing or the tokenizer, which may be any function.
    """
    total = hashlib.sha256(repr(settings).encode())
    for name, part in module.named_modules():
        total.update(repr((name, type(part).__qualname__, _settings(part))).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        total.update(name.encode())
        _update(total, tensor)
    _update(total, batch)
    return total.digest()


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
