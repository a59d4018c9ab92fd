"""Encoders of sounds and of texts by the CLAP models of transformers."""

import os

import torch

from skxsae.embedding._audio import decode_audio, read_audio
from skxsae.embedding._base import BaseEncoder, Loaded
from skxsae.embedding._texts import PROBE_TEXTS, read_text

_DEFAULT = "laion/clap-htsat-unfused"


class _CLAPEncoder(BaseEncoder):
    """What the encoders of both views share: their parameters and how they load."""

    _loaded_by = ("model", "processor")

    _parameter_constraints: dict = {
        **BaseEncoder._parameter_constraints,
        "model": [str, os.PathLike, torch.nn.Module],
        "processor": "no_validation",
    }

    def __init__(
        self,
        model=_DEFAULT,
        *,
        processor=None,
        batch_size=32,
        precision="float32",
        on_error="raise",
        cache_dir=None,
        device="auto",
        verbose=False,
    ):
        self.model = model
        self.processor = processor
        self.batch_size = batch_size
        self.precision = precision
        self.on_error = on_error
        self.cache_dir = cache_dir
        self.device = device
        self.verbose = verbose

    def _load(self):
        if isinstance(self.model, torch.nn.Module):
            if self.processor is None:
                raise ValueError("A model that is a module needs its processor too.")
            return Loaded(self.model, self.processor)
        transformers = _transformers()
        module, report = transformers.ClapModel.from_pretrained(
            self.model, output_loading_info=True
        )
        if report["missing_keys"]:
            raise ValueError(f"model={self.model!r} lacks weights of a CLAP model.")
        # the checkpoint may be of half precision
        processor = self.processor or transformers.ClapProcessor.from_pretrained(
            self.model
        )
        return Loaded(module.float(), processor)


class CLAPAudioEncoder(_CLAPEncoder):
    """Embeddings of sounds by a CLAP model of transformers, as a transformer.

    Takes WAV files or samples. Nothing is learnt, so it need not be fitted.

    Parameters
    ----------
    model : str, path-like or torch.nn.Module, default="laion/clap-htsat-unfused"
        Repository of the Hugging Face hub or a folder, or a given
        ``transformers.ClapModel``, which needs `processor`.

    processor : transformers.ClapProcessor, default=None
        Makes the input of the model. None is what comes with the model.

    batch_size : int, default=32
        Number of sounds that are in memory at once.

    precision : {"float32", "float16", "bfloat16"}, default="float32"
        What the model computes in, by autocast. Embeddings are float32 in any case.

    on_error : {"raise", "skip"}, default="raise"
        What becomes of sounds that cannot be read: an error that names them, or a row
        of NaN for each and one warning.

    cache_dir : str or path-like, default=None
        Folder in which embeddings are kept. What is found there is not computed again,
        so that a run which was interrupted goes on where it was.

    device : str, default="auto"
        Torch device. "auto" uses a GPU if there is one.

    verbose : bool, default=False
        Whether to show a progress bar.

    See Also
    --------
    CLAPTextEncoder : The texts that go with the sounds.
    OpenCLIPImageEncoder : Its notes on equal entries, loading and the cache hold here
        too.

    Notes
    -----
    X is a list, an object array, a Series or a DataFrame of one column, of paths to WAV
    files and of pairs (samples, sampling_rate). Samples are integers, or floats in
    [-1, 1], of shape (n_samples,) or (n_samples, n_channels). Floats up to 2 pass,
    since decoders overshoot; larger ones are of another scale, and unreadable.

    Channels are averaged and resampled to the rate of the model. Only the start of a
    long sound is heard, ten seconds with the usual models, where CLAP's own processor
    draws a part at random. Models that fuse several parts get one as well.

    References
    ----------
    .. [1] Y. Wu et al. "Large-scale contrastive language-audio pretraining with feature
       fusion and keyword-to-caption augmentation." ICASSP 2023.

    Examples
    --------
    It needs the package transformers, and downloads the model when it is first used::

        X = CLAPAudioEncoder().transform(["rain.wav", (samples, 44100)])

    >>> from skxsae.embedding import CLAPAudioEncoder
    >>> CLAPAudioEncoder(batch_size=8)
    CLAPAudioEncoder(batch_size=8)
    """

    _entries = "paths of WAV files or pairs (samples, sampling_rate)"
    _reads_files = True

    def _read(self, entry):
        return read_audio(entry)

    def _prepare(self, loaded, content):
        extractor = loaded.processor.feature_extractor
        rate = extractor.sampling_rate
        samples = decode_audio(content, rate, extractor.nb_max_samples)
        batch = extractor(samples, sampling_rate=rate, return_tensors="pt")
        return batch["input_features"][0]  # (n_mels_kinds, n_frames, n_mels)

    def _collate(self, loaded, inputs):
        # the extractor calls a sound at random long, so that fusion has something to do
        is_longer = torch.zeros(len(inputs), 1, dtype=torch.bool)
        features = {"input_features": torch.stack(inputs), "is_longer": is_longer}
        return _transformers().BatchFeature(features)

    def _forward(self, module, batch):
        return _pooled(module.get_audio_features(**batch))

    def _probes(self, loaded):
        rate = loaded.processor.feature_extractor.sampling_rate
        pitches = torch.tensor([[110.0], [3520.0]])
        waves = torch.sin(pitches * torch.arange(rate, dtype=torch.float64) / rate)
        return [self._prepare(loaded, (wave.numpy(), rate)) for wave in waves]


class CLAPTextEncoder(_CLAPEncoder):
    """Embeddings of texts by a CLAP model of transformers, as a transformer.

    Nothing is learnt, so it need not be fitted.

    Parameters
    ----------
    model : str, path-like or torch.nn.Module, default="laion/clap-htsat-unfused"
        Repository of the Hugging Face hub or a folder, or a given
        ``transformers.ClapModel``, which needs `processor`.

    processor : transformers.ClapProcessor, default=None
        Makes the input of the model. None is what comes with the model.

    batch_size : int, default=32
        Number of texts that are encoded at once.

    precision : {"float32", "float16", "bfloat16"}, default="float32"
        What the model computes in, by autocast. Embeddings are float32 in any case.

    on_error : {"raise", "skip"}, default="raise"
        What becomes of entries that are no text, such as None: an error that names
        them, or a row of NaN for each and one warning.

    cache_dir : str or path-like, default=None
        Folder in which embeddings are kept. What is found there is not computed again,
        so that a run which was interrupted goes on where it was.

    device : str, default="auto"
        Torch device. "auto" uses a GPU if there is one.

    verbose : bool, default=False
        Whether to show a progress bar.

    See Also
    --------
    CLAPAudioEncoder : The sounds that go with the texts.

    Notes
    -----
    X is a list, an array, a Series or a DataFrame of one column, of str. What is longer
    than the context of the model is cut by the tokenizer.

    References
    ----------
    .. [1] Y. Wu et al. "Large-scale contrastive language-audio pretraining with feature
       fusion and keyword-to-caption augmentation." ICASSP 2023.

    Examples
    --------
    It needs the package transformers, and downloads the model when it is first used::

        y = CLAPTextEncoder().transform(["rain on a roof", "a dog barks"])

    >>> from skxsae.embedding import CLAPTextEncoder
    >>> CLAPTextEncoder(batch_size=8)
    CLAPTextEncoder(batch_size=8)
    """

    _entries = "texts"

    def _read(self, entry):
        return read_text(entry)

    def _collate(self, loaded, inputs):
        return loaded.processor.tokenizer(
            inputs, padding=True, truncation=True, return_tensors="pt"
        )

    def _forward(self, module, batch):
        return _pooled(module.get_text_features(**batch))

    def _probes(self, loaded):
        return PROBE_TEXTS


def _pooled(output):
    """The embeddings, which older versions of transformers return by themselves."""
    return getattr(output, "pooler_output", output)


def _transformers():
    """The package transformers, or an error that names the extra to install."""
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "A CLAP model requires the package transformers: "
            "pip install 'skxsae[audio]'."
        ) from error
    return transformers
