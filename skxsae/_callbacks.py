"""The only file that touches scikit-learn's experimental callback interface."""

import signal
import threading

import pandas as pd
from sklearn.callback import CallbackSupportMixin

from skxsae._checkpoint import Checkpoint, state_file
from skxsae._distributed import peers


class PassCallbacks:
    """Tells the callbacks of an estimator about each pass over the data."""

    def __init__(self, estimator, max_iter, X, y=None):
        self.estimator = estimator
        # the target of an autoencoder is its input; ScoringMonitor asks for a target
        self.data = {"X": _named(X, estimator), "y": X if y is None else y}
        self.context = estimator._init_callback_context(max_subtasks=max_iter)
        self.context.call_on_fit_task_begin(estimator=estimator, **self.data)
        self._begin_pass()

    def _begin_pass(self):
        self.current = self.context.subcontext("pass").call_on_fit_task_begin(
            estimator=self.estimator, **self.data
        )

    def end_pass(self, fitted_attributes, is_last):
        """Report the end of a pass; True if a callback wants to stop."""
        stop = self.current.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=fitted_attributes,
            **self.data,
        )
        if not (stop or is_last):
            self._begin_pass()
        return stop

    def state_file(self, describe, peers):
        """Where a fit keeps its state, None if no callback asks for that.

        `describe` returns what the fit is.
        """
        for callback in self.context._callbacks:
            if isinstance(callback, Checkpoint):
                return state_file(callback, self.context, describe(), peers)
        return None

    def end_fit(self, fitted_attributes):
        """Report the end of the fit."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: fitted_attributes,
            **self.data,
        )


def _named(X, estimator):
    """X under the names of its features, if there are any."""
    names = getattr(estimator, "feature_names_in_", None)
    return X if names is None else pd.DataFrame(X, columns=names, copy=False)


class ViewCallbacks:
    """Carries the callbacks of a two-view estimator into the fit of each view."""

    def __init__(self, estimator, X, y):
        self.estimator, self.data = estimator, {"X": X, "y": y}
        self.peers = peers()
        with self.peers.agreeing():
            self.context = estimator._init_callback_context(max_subtasks=2)
            self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def fit(self, sub_estimator, X, name):
        """Fit one view under the callbacks that propagate."""
        with self.peers.agreeing():
            context = self.context.subcontext(name).call_on_fit_task_begin(
                estimator=self.estimator, **self.data
            )
        with context.propagate_callback_context(sub_estimator):
            sub_estimator.fit(X)
        with self.peers.agreeing():
            context.call_on_fit_task_end(estimator=self.estimator, **self.data)

    def end_fit(self):
        """Report the end of the fit."""
        with self.peers.agreeing():
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                reconstruction_attributes=lambda: vars(self.estimator),
                **self.data,
            )


class StopOnInterrupt:
    """Callback that ends a fit after the current pass when Ctrl-C is pressed.

    Without it, Ctrl-C discards the fit and leaves the estimator as it was. A second
    Ctrl-C in the same pass interrupts at once. Where several fits follow each other, as
    for the two views of :class:`PostHocAlignedSAE` or in a grid search, the one that is
    running ends and the next goes on.

    Notes
    -----
    Signals only reach the main thread: in a worker thread or process the callback
    does nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae import StopOnInterrupt, TopKSAE
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> sae = TopKSAE(n_latents=16, k=2, max_iter=5, random_state=0)
    >>> sae.set_callbacks(StopOnInterrupt()).fit(X).n_iter_
    5
    """

    max_propagation_depth = None

    def __init__(self):
        self.interrupted = False

    def setup(self, estimator, context):
        """Take over the handler of SIGINT.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """
        self.interrupted = False
        self._previous = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)

    def teardown(self, estimator, context):
        """Give the handler of SIGINT back.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
        self._previous = None

    def _handle(self, number, frame):
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def on_fit_task_begin(self, estimator, context):
        """Forget an interrupt that an earlier fit was ended by.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """
        if context.max_subtasks != 0:
            self.interrupted = False

    def on_fit_task_end(self, estimator, context):
        """Stop if Ctrl-C was pressed.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.

        Returns
        -------
        stop : bool
            Whether to stop after this pass.
        """
        return self.interrupted


__all__ = ["CallbackSupportMixin", "PassCallbacks", "StopOnInterrupt", "ViewCallbacks"]
