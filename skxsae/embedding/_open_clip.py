"""Encoders of pictures and of texts by the models of open_clip."""

import os
from numbers import Integral

import torch
from sklearn.utils._param_validation import Interval

from skxsae.embedding._base import BaseEncoder, Loaded
from skxsae.embedding._images import decode_image, probe_pictures, read_image
from skxsae.embedding._loading import load_module, preprocess_of, tokenizer_of
from skxsae.embedding._texts import PROBE_TEXTS, read_text

_DEFAULT = "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


class OpenCLIPImageEncoder(BaseEncoder):
    """Embeddings of pictures by a CLIP model of open_clip, as a transformer.

    Takes files, PIL images or arrays, and any model of the open_clip library: CLIP,
    OpenCLIP, MetaCLIP, SigLIP and more. Nothing is learnt, so it need not be fitted.

    Parameters
    ----------
    model : str or torch.nn.Module, \
            default="hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
        Name of a model: one of ``open_clip.list_models()``, which needs `pretrained`;
        or "hf-hub:" and a repository of the Hugging Face hub; or "local-dir:" and a
        folder. Weights are downloaded once, by open_clip. Or a module with a method
        ``encode_image``, for any other model.

    pretrained : str or path-like, default=None
        Weights of a `model` that has no prefix: one of
        ``open_clip.list_pretrained_tags_by_model(model)``, or the file of a checkpoint.

    preprocess : callable, default=None
        Makes a tensor of shape (n_channels, height, width) of a PIL image in RGB. None
        is what comes with the model; a module that open_clip did not make needs one.

    batch_size : int, default=64
        Number of pictures that are in memory at once.

    precision : {"float32", "float16", "bfloat16"}, default="float32"
        What the model computes in, by autocast. Embeddings are float32 in any case.

    on_error : {"raise", "skip"}, default="raise"
        What becomes of pictures that cannot be read: an error that names them, or a row
        of NaN for each and one warning.

    cache_dir : str or path-like, default=None
        Folder in which embeddings are kept. What is found there is not computed again,
        so that a run which was interrupted goes on where it was.

    n_jobs : int, default=None
        Number of threads that decode pictures, -1 for one on each processor. None is 1
        unless in a :func:`joblib.parallel_config` context.

    device : str, default="auto"
        Torch device. "auto" uses a GPU if there is one.

    verbose : bool, default=False
        Whether to show a progress bar.

    See Also
    --------
    OpenCLIPTextEncoder : The texts that go with the pictures.

    Notes
    -----
    X is a list, an object array, a Series or a DataFrame of one column, of paths, PIL
    images and arrays, or an array of shape (n_samples, height, width, 3 or 4). Arrays
    are uint8, or floats in [0, 1], of shape (height, width) or (height, width, 3 or 4).

    Pictures are turned upright as their EXIF data say and put on white where they are
    transparent. Grey values of 16 bits are scaled, and of an animation the first frame
    is taken. The embedding of an ordinary RGB file is that of open_clip.

    Equal pictures in one call are encoded once: files of equal bytes, images and arrays
    of equal pixels.

    The model is loaded when it is first needed, and again when a parameter that matters
    has changed. Clones share it, and a pickle leaves it out if `model` is a name. A
    module that was given is put back on its device and into its mode after each call,
    by the last of the encoders that use it in threads. If its weights are of half
    precision, `precision` must say so.

    OpenAI's weights need the activation they were trained with, QuickGELU, which
    "ViT-B-32" and others do not have by their name alone. For a tag it is set here; for
    the file of a checkpoint choose the name that ends in "-quickgelu". A checkpoint
    says nothing of the preprocessing either: SigLIP's need `preprocess`.

    The cache is one SQLite file, which several processes may share and which gets one
    transaction for each batch. Its keys are SHA-256 digests of the content, and of the
    weights, the configuration, the precision, what `preprocess` makes of a few fixed
    pictures, and what the model makes of them. The last is compared up to rounding, so
    that a GPU finds what a CPU has encoded. Code is not compared: a change of it that
    leaves the fixed pictures as they were needs another `cache_dir`. The file is never
    emptied; delete it to do so.

    References
    ----------
    .. [1] A. Radford et al. "Learning transferable visual models from natural language
       supervision." ICML 2021.

    Examples
    --------
    With a model of open_clip::

        encoder = OpenCLIPImageEncoder("ViT-B-16-SigLIP", "webli", n_jobs=-1)
        X = encoder.transform(["cat.jpg", "dog.png"])

    Any module with a method ``encode_image`` will do; this one gives the mean of each
    channel:

    >>> import numpy as np
    >>> import torch
    >>> from skxsae.embedding import OpenCLIPImageEncoder
    >>> class MeanColour(torch.nn.Module):
    ...     def encode_image(self, pixels):
    ...         return pixels.mean(dim=(2, 3))
    >>> def preprocess(picture):
    ...     return torch.tensor(np.array(picture.resize((8, 8)))).permute(2, 0, 1) / 255
    >>> encoder = OpenCLIPImageEncoder(MeanColour(), preprocess=preprocess)
    >>> red = np.full((20, 30, 3), (255, 0, 0), dtype=np.uint8)
    >>> white = np.ones((10, 10))
    >>> encoder.transform([red, white])
    array([[1., 0., 0.],
           [1., 1., 1.]], dtype=float32)
    """

    _entries = "paths, PIL images or arrays"
    _reads_files = True
    _loaded_by = ("model", "pretrained", "preprocess")

    _parameter_constraints: dict = {
        **BaseEncoder._parameter_constraints,
        "model": [str, torch.nn.Module],
        "pretrained": [str, os.PathLike, None],
        "preprocess": [callable, None],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
    }

    def __init__(
        self,
        model=_DEFAULT,
        pretrained=None,
        *,
        preprocess=None,
        batch_size=64,
        precision="float32",
        on_error="raise",
        cache_dir=None,
        n_jobs=None,
        device="auto",
        verbose=False,
    ):
        self.model = model
        self.pretrained = pretrained
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.precision = precision
        self.on_error = on_error
        self.cache_dir = cache_dir
        self.n_jobs = n_jobs
        self.device = device
        self.verbose = verbose

    def _load(self):
        module = load_module(self.model, self.pretrained, "encode_image")
        return Loaded(module, self.preprocess or preprocess_of(module))

    def _read(self, entry):
        return read_image(entry)

    def _prepare(self, loaded, content):
        return torch.as_tensor(loaded.processor(decode_image(content)))

    def _collate(self, loaded, inputs):
        return torch.stack(inputs)  # (batch, n_channels, height, width)

    def _forward(self, module, batch):
        return module.encode_image(batch)

    def _probes(self, loaded):
        return [self._prepare(loaded, picture) for picture in probe_pictures()]


class OpenCLIPTextEncoder(BaseEncoder):
    """Embeddings of texts by a CLIP model of open_clip, as a transformer.

    Takes captions in any script, and any model of the open_clip library: CLIP,
    OpenCLIP, MetaCLIP, SigLIP and more. Nothing is learnt, so it need not be fitted.

    Parameters
    ----------
    model : str or torch.nn.Module, \
            default="hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
        Name of a model: one of ``open_clip.list_models()``, which needs `pretrained`;
        or "hf-hub:" and a repository of the Hugging Face hub; or "local-dir:" and a
        folder. Weights are downloaded once, by open_clip. Or a module with a method
        ``encode_text``, for any other model.

    pretrained : str or path-like, default=None
        Weights of a `model` that has no prefix: one of
        ``open_clip.list_pretrained_tags_by_model(model)``, or the file of a checkpoint.

    tokenizer : callable, default=None
        Makes what ``encode_text`` takes of a list of str: a tensor with a row for each,
        or what Hugging Face tokenizers return. It must cut long texts. None is what
        comes with the model; a module that was given needs one.

    batch_size : int, default=64
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
    OpenCLIPImageEncoder : The pictures that go with the texts; its notes on models,
        their weights and the cache hold here too.

    Notes
    -----
    X is a list, an array, a Series or a DataFrame of one column, of str. An empty text
    is a text. What is longer than the context of the model, 77 tokens for CLIP and 64
    for SigLIP, is cut by the tokenizer. Equal texts in one call are encoded once.

    The tokenizers of SigLIP and of some others need the package transformers.

    References
    ----------
    .. [1] A. Radford et al. "Learning transferable visual models from natural language
       supervision." ICML 2021.

    Examples
    --------
    With a model of open_clip::

        encoder = OpenCLIPTextEncoder("ViT-B-16-SigLIP", "webli")
        y = encoder.transform(["a cat", "two dogs"])

    Any module with a method ``encode_text`` will do; this one counts two letters:

    >>> import torch
    >>> from skxsae.embedding import OpenCLIPTextEncoder
    >>> class Counts(torch.nn.Module):
    ...     def encode_text(self, tokens):
    ...         return tokens.float()
    >>> def tokenizer(texts):
    ...     return torch.tensor([[text.count("a"), text.count("n")] for text in texts])
    >>> encoder = OpenCLIPTextEncoder(Counts(), tokenizer=tokenizer)
    >>> encoder.transform(["banana", "plum", "banana"])
    array([[3., 2.],
           [0., 0.],
           [3., 2.]], dtype=float32)
    """

    _entries = "texts"
    _loaded_by = ("model", "pretrained", "tokenizer")

    _parameter_constraints: dict = {
        **BaseEncoder._parameter_constraints,
        "model": [str, torch.nn.Module],
        "pretrained": [str, os.PathLike, None],
        "tokenizer": [callable, None],
    }

    def __init__(
        self,
        model=_DEFAULT,
        pretrained=None,
        *,
        tokenizer=None,
        batch_size=64,
        precision="float32",
        on_error="raise",
        cache_dir=None,
        device="auto",
        verbose=False,
    ):
        self.model = model
        self.pretrained = pretrained
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.precision = precision
        self.on_error = on_error
        self.cache_dir = cache_dir
        self.device = device
        self.verbose = verbose

    def _load(self):
        module = load_module(self.model, self.pretrained, "encode_text")
        return Loaded(module, self.tokenizer or tokenizer_of(self.model))

    def _read(self, entry):
        return read_text(entry)

    def _collate(self, loaded, inputs):
        return loaded.processor(inputs)

    def _forward(self, module, batch):
        return module.encode_text(batch)

    def _probes(self, loaded):
        return PROBE_TEXTS
