"""What the encoders of pictures, texts and sounds share."""

import copy
import os
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import estimator_html_repr, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._pprint import _EstimatorPrettyPrinter
from sklearn.utils.parallel import Parallel, delayed

from skxsae._validation import resolve_device
from skxsae.embedding._cache import open_cache
from skxsae.embedding._entries import (
    Results,
    Unreadable,
    attempt,
    check_entries,
    check_files,
)
from skxsae.embedding._fingerprint import model_fingerprint
from skxsae.embedding._representation import abridged, print_abridged
from skxsae.embedding._sharing import evaluating

PRECISIONS = {
    "float32": None,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# how far rounding moves an embedding, relative to its length, for a ViT-B/32:
# 7e-4 with TF32 in all layers, as GPUs may use; 1.3e-3 and 1e-2 in 16 bits
TOLERANCES = {"float32": 2e-3, "float16": 5e-3, "bfloat16": 3e-2}


@dataclass
class Loaded:
    """A model, what makes its input, and what they were loaded from."""

    module: torch.nn.Module
    processor: Any
    parameters: tuple = ()
    n_features: int | None = None
    fingerprints: dict = field(default_factory=dict)


class BaseEncoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC
):
    """A pretrained model as a transformer of entries to embeddings.

    A subclass names its entries and the parameters that determine what is loaded, and
    says how an entry is read and what the model makes of a batch of them.
    """

    _entries: str
    _reads_files: bool = False
    _loaded_by: tuple[str, ...]

    _parameter_constraints: dict = {
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "precision": [StrOptions(set(PRECISIONS))],
        "on_error": [StrOptions({"raise", "skip"})],
        "cache_dir": [str, os.PathLike, None],
        "device": [str],
        "verbose": ["boolean"],
    }

    @abstractmethod
    def _load(self):
        """Model and what makes its input, as `Loaded`."""

    @abstractmethod
    def _read(self, entry):
        """Digest of the content of an entry, and the content."""

    def _prepare(self, loaded, content):
        """Input of the model for one content."""
        return content

    @abstractmethod
    def _collate(self, loaded, inputs):
        """Inputs as one tensor, or as a mapping of tensors that has a method `to`."""

    @abstractmethod
    def _forward(self, module, batch):
        """Embeddings of a batch, as a tensor."""

    @abstractmethod
    def _probes(self, loaded):
        """List of the inputs for a few fixed contents."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters and the container; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, 1)
            Entries to encode, of which none is read here.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The encoder itself.
        """
        resolve_device(self.device)
        check_entries(X, self._entries)
        return self

    def transform(self, X):
        """Embed each entry.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or (n_samples, 1)
            Entries to encode: a list, an array, a Series, or a DataFrame of one column.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, n_features_out)
            Embeddings, float32, as the model gives them: CLIP's are not of unit
            length. Equal entries have equal rows. An unreadable entry has a row of NaN
            if ``on_error="skip"``.

        Raises
        ------
        ValueError
            If entries are unreadable and ``on_error="raise"``. Missing files are found
            before anything is encoded; else the batch is read to its end, and all of
            its unreadable entries are named.
        """
        self._validate_params()
        resolve_device(self.device)
        entries = check_entries(X, self._entries)
        loaded = self._load_once()
        if self._reads_files and self.on_error == "raise":
            check_files(entries)
        results = Results(entries, self._count_features(loaded))
        with (
            self._on_device(loaded),
            self._open_cache(loaded) as cache,
            self._open_map() as apply,
            self._open_progress(len(results.items)) as progress,
        ):
            for batch in gen_batches(len(results.items), self.batch_size):
                self._encode_batch(loaded, results, batch, cache, apply)
                progress.update(batch.stop - batch.start)
        results.warn()
        return results.to_array()

    def _encode_batch(self, loaded, results, batch, cache, apply):
        """Add the embeddings of some of the items to the results."""
        contents = {}
        reads = apply(partial(attempt, self._read), results.items[batch])
        for item, read in enumerate(reads, start=batch.start):
            if isinstance(read, Unreadable):
                results.fail(item, read)
            elif results.is_new(item, read[0]):
                contents[item] = read
        cached = cache.get([content_digest for content_digest, _ in contents.values()])
        missing = {}
        for item, (content_digest, content) in contents.items():
            if content_digest in cached:
                results.vectors[item] = cached[content_digest]
            else:
                missing[item] = content
        prepare = partial(attempt, partial(self._prepare, loaded))
        inputs = dict(zip(missing, apply(prepare, missing.values()), strict=True))
        for item, error in inputs.items():
            if isinstance(error, Unreadable):
                results.fail(item, error)
        if self.on_error == "raise":
            results.raise_errors()
        inputs = {i: x for i, x in inputs.items() if not isinstance(x, Unreadable)}
        if inputs:
            vectors = self._encode(loaded, list(inputs.values()))
            results.vectors[list(inputs)] = vectors
            cache.put([contents[item][0] for item in inputs], vectors)

    def _encode(self, loaded, inputs):
        """Embeddings of some inputs, in halves if the device runs out of memory."""
        try:
            return self._encode_at_once(loaded, inputs)
        except torch.OutOfMemoryError:
            if len(inputs) == 1:
                raise
        half = len(inputs) // 2
        warnings.warn(
            f"The device has no memory for {len(inputs)} entries at once, so they go "
            f"in halves. batch_size={half} is faster.",
            UserWarning,
            stacklevel=2,
        )
        torch.cuda.empty_cache()
        halves = (inputs[:half], inputs[half:])
        return np.concatenate([self._encode(loaded, each) for each in halves])

    def _encode_at_once(self, loaded, inputs):
        """Embeddings of some inputs as float32."""
        device = resolve_device(self.device)
        dtype = PRECISIONS[self.precision]
        kind = torch.device(device).type
        with (
            torch.inference_mode(),
            torch.autocast(kind, dtype=dtype, enabled=dtype is not None),
        ):
            batch = self._collate(loaded, inputs).to(device)
            vectors = self._forward(loaded.module, batch)
        if vectors.ndim != 2 or len(vectors) != len(inputs):
            raise ValueError(
                f"model gave an array of shape {tuple(vectors.shape)} for "
                f"{len(inputs)} entries, but a row for each is expected."
            )
        vectors = vectors.float().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise ValueError(
                "model gave an embedding with NaN or infinity. With "
                f"precision={self.precision!r}, try 'bfloat16' or 'float32'."
            )
        return vectors

    def _encode_probes(self, loaded, probes):
        """Embeddings of the fixed contents, NaN for those that the model refuses."""
        vectors = np.full((len(probes), loaded.n_features), np.nan, dtype=np.float32)
        for row, probe in zip(vectors, probes, strict=True):
            # what a model cannot take need not be in X, where it is an error
            with suppress(Exception):
                row[:] = self._encode_at_once(loaded, [probe])[0]
        return vectors

    def _load_once(self):
        """What was loaded before, unless the parameters have changed since."""
        parameters = tuple(getattr(self, name) for name in self._loaded_by)
        loaded = getattr(self, "_loaded", None)
        if loaded is None or loaded.parameters != parameters:
            self._loaded = self._load()
            self._loaded.parameters = parameters
        return self._loaded

    def _on_device(self, loaded):
        """Evaluation mode on the device; a model that was given is left as it was."""
        given = loaded.module is self.model
        return evaluating(loaded.module, resolve_device(self.device), restores=given)

    def _open_cache(self, loaded):
        """The cache of this model and precision."""

        def identify():
            known, settings = loaded.fingerprints, (type(self).__name__, self.precision)
            # a module that was given may have been trained or edited since
            if settings not in known or loaded.module is self.model:
                probes = self._probes(loaded)
                batch = self._collate(loaded, probes)
                known[settings] = (
                    model_fingerprint(loaded.module, batch, *settings),
                    self._encode_probes(loaded, probes),
                )
            return known[settings]

        tolerance = TOLERANCES[self.precision]
        return open_cache(self.cache_dir, identify, loaded.n_features, tolerance)

    @contextmanager
    def _open_map(self):
        """A function that maps another over entries, in threads if there are any."""
        if not hasattr(self, "n_jobs"):
            yield map
            return
        with Parallel(n_jobs=self.n_jobs, require="sharedmem") as parallel:
            yield lambda function, entries: parallel(
                delayed(function)(entry) for entry in entries
            )

    def _open_progress(self, n_items):
        """A bar, or something that shows nothing."""
        if not self.verbose:
            return nullcontext(_NoProgress())
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "verbose=True requires tqdm: pip install 'skxsae[clip]'."
            ) from error
        return tqdm(total=n_items, unit=" entries")

    def get_feature_names_out(self, input_features=None):
        """Give the names of the features, for which the model is loaded.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Ignored.

        Returns
        -------
        feature_names_out : ndarray of str objects
            The name of the class in lower case, and a number.
        """
        # no property: scikit-learn looks at all of them to display an estimator
        self._n_features_out = self._count_features(self._load_once())
        return super().get_feature_names_out(input_features)

    def _count_features(self, loaded):
        """Number of features of an embedding, found by encoding one fixed content."""
        if loaded.n_features is None:
            with self._on_device(loaded):
                vectors = self._encode(loaded, self._probes(loaded)[:1])
            loaded.n_features = vectors.shape[1]
        return loaded.n_features

    def __sklearn_clone__(self):
        # weights are only read, so that clones may share them
        clone = type(self)(**self.get_params(deep=False))
        if hasattr(self, "_loaded"):
            clone._loaded = self._loaded
        for name in ("_sklearn_output_config", "_metadata_request"):
            if hasattr(self, name):
                setattr(clone, name, copy.deepcopy(getattr(self, name)))
        return clone

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def __repr__(self, N_CHAR_MAX=700):
        return BaseEstimator.__repr__(abridged(self), N_CHAR_MAX)

    def _html_repr(self):
        # scikit-learn shows the names of the features, for which it would be loaded
        is_loaded = hasattr(self, "_loaded")
        return estimator_html_repr(self if is_loaded else abridged(self))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


# scikit-learn breaks the lines of an estimator inside of another by its __repr__
_EstimatorPrettyPrinter._dispatch[BaseEncoder.__repr__] = print_abridged


class _NoProgress:
    """What stands in for a bar where none was asked for."""

    def update(self, n):
        pass
