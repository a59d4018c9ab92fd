"""Training on rows that arrive in pieces, always in full batches."""

import copy

import numpy as np
import torch
from sklearn.utils import check_random_state

from skxsae._activations import level_of
from skxsae._fitting import (
    DEAD_AFTER,
    Fit,
    make_views,
    n_latents_of_a_stream,
    normalised_views,
)
from skxsae._training import Record
from skxsae._validation import resolve_device

_BATCHES_OF_ERROR = 100


class Stream:
    """What an estimator keeps between two pieces of its data, in NumPy."""

    def __init__(self):
        self.pending = None  # rows of each view that wait for a full batch
        self.normalizations = None
        self.sizes = None
        self.trainer_state = None
        self.losses, self.errors = [], []

    def feed(self, estimator, arrays, fitted):
        """Train on what is pending and `arrays`; fitted attributes of each view.

        The weights start as those of `fitted`, the autoencoders of an earlier fit, if
        there are any. Returns None while there is no full batch yet.
        """
        if self.pending is not None:
            arrays = [
                np.concatenate([old, np.asarray(new, dtype=old.dtype)])
                for old, new in zip(self.pending, arrays, strict=True)
            ]
        size = estimator.batch_size
        n_batches = len(arrays[0]) // size
        self.pending = [np.array(X[n_batches * size :]) for X in arrays]
        if not n_batches:
            return None
        fit = self._start_or_resume(estimator, arrays, fitted)
        trainer = fit.trainer
        rate = torch.tensor(estimator.learning_rate, device=trainer.totals.device)
        for start in range(0, n_batches * size, size):
            rows = [X[start : start + size] for X in arrays]
            batch = normalised_views(rows, self.normalizations, fit.views[0].device)
            trainer.totals.zero_()
            trainer.look()
            trainer.step([view[:] for view in batch], rate)
            loss, error = trainer.totals.tolist()
            if not np.isfinite(loss + error):
                raise ValueError(
                    f"Training diverged in step {len(self.losses) + 1}: the loss is "
                    "not finite. Lower learning_rate, or scale the data."
                )
            variance = sum(view.variance for view in batch)
            self.losses = [*self.losses, loss]
            self.errors = [*self.errors, error / variance if variance else 0.0]
            self.errors = self.errors[-_BATCHES_OF_ERROR:]
        self.trainer_state = trainer.state()
        return fit.attributes(self._record(trainer))

    def _start_or_resume(self, estimator, arrays, fitted):
        """The autoencoders as they are before the next batch."""
        device = resolve_device(estimator.device)
        params = estimator.get_params(deep=False)
        first = [X[: estimator.batch_size] for X in arrays]
        if self.normalizations is None:
            if fitted:
                self.normalizations = [sae._normalization() for sae in fitted]
                self.sizes = fitted[0].n_latents_, fitted[0].k_
            else:
                views = make_views(params, first, device)
                self.normalizations = [view.normalization for view in views]
                self.sizes = n_latents_of_a_stream(params, arrays)
        views = normalised_views(first, self.normalizations, device)
        rng = check_random_state(estimator.random_state)
        fit = Fit(estimator, views, self.sizes, DEAD_AFTER, rng)
        if self.trainer_state is not None:
            fit.trainer.load(self.trainer_state)
        else:
            for weights, sae in zip(fit.trainer.weights, fitted, strict=False):
                _load(weights, sae)
        return fit

    def _record(self, trainer):
        """What a fit leaves beside the weights."""
        return Record(
            firing_rate=trainer.activity.firing_rate(),
            threshold=float(trainer.activity.threshold),
            n_iter=len(self.losses),
            fvu=float(np.mean(self.errors)),
            loss_curve=self.losses,
        )


def fed(estimator, arrays, fitted):
    """Attributes of an estimator after more rows of its stream."""
    stream = copy.copy(getattr(estimator, "_stream", None)) or Stream()
    attributes = stream.feed(estimator, arrays, fitted)
    learnt = {} if attributes is None else estimator._reconstruct(attributes)
    return {"_stream": stream, **learnt}


def _load(weights, sae):
    """Let weights start as those of a fitted autoencoder."""
    arrays = {
        "encoder": sae.encoder_,
        "encoder_bias": sae.encoder_bias_,
        "decoder": sae.components_,
        "pre_bias": sae.mean_,
    }
    for name, array in arrays.items():
        getattr(weights, name).copy_(torch.from_numpy(np.array(array)))
    if len(weights.level):
        weights.level.copy_(level_of(torch.from_numpy(np.array(sae.threshold_))))
