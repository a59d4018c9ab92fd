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
from skxsae._losses import total_variance
from skxsae._training import (
    Record,
    check_converging,
    memory_error_names_batch_size,
)
from skxsae._validation import resolve_device
from skxsae._views import compute_dtype

_BATCHES_OF_ERROR = 100
_STRUCTURE = (
    "n_latents",
    "k",
    "activation",
    "positive_code",
    "coupling",
    "normalize",
    "statistics",
    "fit_intercept",
)


class Stream:
    """What an estimator keeps between two pieces of its data, in NumPy."""

    def __init__(self):
        self.pending = None  # rows of each view that wait for a full batch
        self.normalizations = None
        self.sizes = None
        self.params = None  # that say what the model is
        self.trainer_state = None
        self.losses, self.errors = [], []

    def feed(self, estimator, arrays, fitted):
        """Train on what is pending and `arrays`; fitted attributes of each view.

        The weights start as those of `fitted`, the autoencoders of an earlier fit, if
        there are any. Returns None while there is no full batch yet.
        """
        self._check_same_parameters(estimator, fitted)
        if self.pending is None:
            # of the type that is computed in, whatever comes later
            dtypes = [compute_dtype(X) for X in arrays]
            self.pending = [
                np.empty((0, X.shape[1]), dtype)
                for X, dtype in zip(arrays, dtypes, strict=True)
            ]
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
        losses, errors = list(self.losses), list(self.errors)
        for start in range(0, n_batches * size, size):
            rows = [X[start : start + size] for X in arrays]
            views = normalised_views(rows, self.normalizations, fit.views[0].device)
            batch = [view[:] for view in views]
            trainer.totals.zero_()
            trainer.look()
            with memory_error_names_batch_size(size):
                trainer.step(batch, rate)
            loss, error = trainer.totals.tolist()
            check_converging(loss + error, f"step {len(losses) + 1}")
            losses.append(loss)
            errors.append(error / float(sum(map(total_variance, batch))))
        check_converging(trainer.sum_of_weights(), f"step {len(losses)}")
        self.losses, self.errors = losses, errors[-_BATCHES_OF_ERROR:]
        self.trainer_state = trainer.state()
        return fit.attributes(self._record(trainer))

    def _check_same_parameters(self, estimator, fitted):
        """Refuse what would make another model in the middle of a stream."""
        params = estimator.get_params(deep=False)
        params = {name: params[name] for name in _STRUCTURE if name in params}
        if self.params is None:
            self.params = dict(params)
            if fitted:  # what a fit has made is continued
                self.params["activation"] = fitted[0].activation_
                self.params["coupling"] = getattr(estimator, "coupling_", None)
        for name, value in params.items():
            if value != self.params[name]:
                raise ValueError(
                    f"{name} was {self.params[name]!r} and is {value!r} now: a stream "
                    "goes on with the model that it has. Call fit, or clone."
                )

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
            threshold=trainer.activity.threshold,
            n_iter=len(self.losses),
            fvu=float(np.mean(self.errors)),
            loss_curve=self.losses,
        )


def go_on(estimator, arrays, fitted):
    """Let an estimator learn from more rows of its stream."""
    stream = copy.copy(getattr(estimator, "_stream", None)) or Stream()
    attributes = stream.feed(estimator, arrays, fitted)
    if attributes is not None:
        forget_options(estimator)
        vars(estimator).update(estimator._reconstruct(attributes))
    estimator._stream = stream
    return attributes is not None


def forget_options(estimator):
    """Remove fitted attributes that not every fit sets."""
    for name in ("threshold_", "translation_", "_stream"):
        vars(estimator).pop(name, None)


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
