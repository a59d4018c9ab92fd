import io

import numpy as np
import pytest
from scipy.io import wavfile

from skxsae.embedding._audio import decode_audio, read_audio
from skxsae.embedding._entries import Unreadable

RATE = 8000


def tone(rate=RATE, seconds=1.0, pitch=440.0):
    return np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)


def samples_of(entry, rate=RATE, n_samples=10 * RATE):
    return decode_audio(read_audio(entry)[1], rate, n_samples)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (np.uint8, 2**-7),
        (np.int16, 2**-14),
        (np.int32, 2**-30),
        (np.float32, 1e-7),
        (np.float64, 0),
    ],
)
def test_files_and_samples_of_each_type(tmp_path, dtype, tolerance):
    samples = 0.5 * tone()
    if np.issubdtype(dtype, np.integer):
        half = 2 ** (8 * np.dtype(dtype).itemsize - 1)
        samples = np.rint(samples * half + (half if dtype == np.uint8 else 0))
    samples = samples.astype(dtype)
    wavfile.write(tmp_path / "a.wav", RATE, samples)
    for entry in (tmp_path / "a.wav", str(tmp_path / "a.wav"), (samples, RATE)):
        np.testing.assert_allclose(samples_of(entry), 0.5 * tone(), atol=tolerance)


def test_channels_are_averaged():
    stereo = np.stack([0.2 * tone(), 0.6 * tone()], axis=1)
    np.testing.assert_allclose(samples_of((stereo, RATE)), 0.4 * tone())


def test_floats_may_overshoot_a_little():
    np.testing.assert_array_equal(samples_of((1.9 * tone(), RATE)), 1.9 * tone())


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_other_rates_are_resampled(rate):
    samples = samples_of((tone(rate), rate))
    assert len(samples) == RATE
    # the filter needs neighbours, which the ends lack
    np.testing.assert_allclose(samples[400:-400], tone()[400:-400], atol=0.01)


def test_the_start_of_a_long_sound_is_kept():
    long = (tone(44100, seconds=5), 44100)
    samples = samples_of(long, n_samples=2 * RATE)
    assert len(samples) == 2 * RATE
    np.testing.assert_allclose(samples, samples_of(long)[: 2 * RATE], atol=1e-12)


def test_digests(tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, tone())
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    assert read_audio(tmp_path / "a.wav")[0] == read_audio(tmp_path / "b.wav")[0]
    samples = tone()
    entries = [
        tmp_path / "a.wav",
        (samples, RATE),
        (samples, RATE + 1),
        (-samples, RATE),
        (samples.reshape(-1, 2), RATE),
    ]
    assert len({read_audio(entry)[0] for entry in entries}) == 5
    assert read_audio([list(samples), RATE])[0] == read_audio((samples, RATE))[0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ((np.zeros(0), RATE), r"float64 of shape \(0,\)"),
        ((np.zeros((4, 4, 4)), RATE), "n_samples, n_channels"),
        ((np.zeros((2, 4000)), RATE), "more channels than samples"),
        ((np.array(["a"]), RATE), "needs integers or floats"),
        ((np.array([0, np.nan]), RATE), "NaN or infinity"),
        ((5000 * tone(), RATE), "float samples of up to 5000, but -1 to 1 .* 32768"),
        ((-2.5 * np.ones((9, 2), np.float32), RATE), "float samples of up to 2.5"),
        ((np.zeros(9), 0), "sampling rate 0 is not a positive integer"),
        ((np.zeros(9), 44.1), "44.1 is not a positive integer"),
        ((np.zeros(9), None), "None is not a positive integer"),
        (np.zeros(9), "neither a path nor a pair"),
        (None, "neither a path nor a pair"),
    ],
)
def test_wrong_entries_are_unreadable(entry, reason):
    with pytest.raises(Unreadable, match=reason):
        samples_of(entry)


def test_bad_files_are_unreadable(tmp_path):
    content = io.BytesIO()
    wavfile.write(content, RATE, (tone() * 1000).astype(np.int16))
    content = content.getvalue()
    files = {
        "a.mp3": (b"ID3" + content, "not a WAV file: convert it"),
        "empty.wav": (b"", "not a WAV file"),
        "cut.wav": (content[: len(content) // 2], "."),
        "header.wav": (content[:30], "."),
    }
    for name, (data, reason) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Unreadable, match=reason):
            samples_of(tmp_path / name)
    for path, reason in ((tmp_path / "gone", "No such file"), (tmp_path, "directory")):
        with pytest.raises(Unreadable, match=reason):
            samples_of(path)


def test_other_chunks_of_a_file_do_not_matter(tmp_path):
    content = io.BytesIO()
    wavfile.write(content, RATE, tone())
    note = b"note" + (6).to_bytes(4, "little") + b"hello\0"
    body = content.getvalue()[8:] + note
    size = len(body).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(b"RIFF" + size + body)
    np.testing.assert_array_equal(samples_of(tmp_path / "a.wav"), tone())
