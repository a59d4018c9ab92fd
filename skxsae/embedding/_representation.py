"""How encoders are printed: of a network that was given, only the name is shown."""

import torch
from sklearn.base import BaseEstimator


class _Abridged:
    """What stands for a network, whose own representation may fill pages."""

    def __init__(self, module):
        self._name = type(module).__name__

    def __repr__(self):
        return f"{self._name}(...)"


def abridged(encoder):
    """Something that scikit-learn prints like the encoder, but for a network."""
    kind = type(encoder)
    parameters = {
        name: _Abridged(value) if isinstance(value, torch.nn.Module) else value
        for name, value in encoder.get_params(deep=False).items()
    }
    # scikit-learn reads the signature of __init__, which must not run: it may call that
    # of a parent class
    printed = type(kind.__name__, (BaseEstimator,), {"__init__": kind.__init__})
    instance: BaseEstimator = object.__new__(printed)
    vars(instance).update(parameters)
    return instance


def print_abridged(printer, encoder, *args):
    """Print an encoder inside of another estimator, such as a pipeline."""
    printer._pprint_estimator(abridged(encoder), *args)
