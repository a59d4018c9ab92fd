"""Sounds as samples at one rate, and what they are known by."""

import io
import math
import os
import warnings
from numbers import Integral
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from skxsae._quiet import quiet
from skxsae.embedding._entries import Unreadable, digest, reading

_HIGHEST = 2.0  # of a float; decoders and resampling overshoot 1 a little
# of the two integers whose ratio is that of the rates, for the filter is as long; all
# usual rates are below 1,000 of each other
_LARGEST_FACTOR = 200_000


def read_audio(entry):
    """Digest of a sound, and its file as bytes or its samples and their rate."""
    if isinstance(entry, str | os.PathLike):
        with reading():
            content = Path(entry).read_bytes()
        if content[:4] not in (b"RIFF", b"RIFX", b"RF64"):
            raise Unreadable("not a WAV file: convert it, or pass its samples")
        return digest(b"file", content), content
    if not (isinstance(entry, tuple | list) and len(entry) == 2):
        raise Unreadable("neither a path nor a pair (samples, sampling_rate)")
    with reading():
        samples, rate = np.asarray(entry[0]), entry[1]
        kind = repr((samples.dtype.str, samples.shape, rate)).encode()
    return digest(b"samples", kind, samples.tobytes()), (samples, rate)


def decode_audio(content, rate, n_samples):
    """At most `n_samples` at a rate, float64, from the start of a sound."""
    with reading():
        samples, own_rate = (
            _read_wav(content) if isinstance(content, bytes) else content
        )
        if not isinstance(own_rate, Integral) or own_rate <= 0:
            raise Unreadable(f"sampling rate {own_rate!r} is not a positive integer")
        # a second more than is kept, so that the end is resampled as it would be
        n_read = math.ceil(n_samples * own_rate / rate) + int(own_rate)
        samples = _as_mono(samples[:n_read])
        divisor = math.gcd(int(own_rate), rate)
        if max(rate, own_rate) // divisor > _LARGEST_FACTOR:
            raise Unreadable(
                f"a sampling rate of {own_rate}, from which {rate} cannot be had at a "
                "reasonable cost: resample it"
            )
        return resample_poly(samples, rate // divisor, own_rate // divisor)[:n_samples]


def _read_wav(content):
    """Samples and rate of a WAV file; one that is cut off is refused."""
    with quiet(category=wavfile.WavFileWarning):
        warnings.filterwarnings("error", "Reached EOF prematurely")
        rate, samples = wavfile.read(io.BytesIO(content))
    return samples, rate


def _as_mono(samples):
    """Mean of the channels, between -1 and 1 if the samples are integers."""
    if (
        samples.ndim not in (1, 2)
        or not samples.size
        or samples.dtype.kind not in "iuf"
    ):
        raise Unreadable(
            f"{samples.dtype} of shape {samples.shape}: needs integers or floats of "
            "shape (n_samples,) or (n_samples, n_channels)"
        )
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise Unreadable(
            f"more channels than samples in shape {samples.shape}: transpose it"
        )
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        values = samples.astype(np.float64)
    if not np.isfinite(values).all():
        raise Unreadable("samples with NaN or infinity")
    if samples.dtype.kind != "f":
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        values = values / half - (samples.dtype.kind == "u")
    elif (largest := np.abs(values).max()) > _HIGHEST:
        raise Unreadable(
            f"float samples of up to {largest:g}, but -1 to 1 is expected: divide them "
            "by what stands for 1, such as 32768 if they were 16-bit integers"
        )
    return values if values.ndim == 1 else values.mean(axis=1)
