"""Accuracy together with the protocol that it was found under."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class ClassificationResult:
    """Which samples were classified correctly, and by what protocol.

    Parameters
    ----------
    hits : ndarray of shape (n_samples,)
        1.0 for a sample that is classified correctly and 0.0 for one that is not; a
        probability where ties are counted by their expectation.

    protocol : dict
        The choices that the accuracy depends on, in words.

    See Also
    --------
    zero_shot_accuracy : Makes one with ``return_result=True``.
    linear_probe_accuracy : Makes one with ``return_result=True``.

    Examples
    --------
    >>> from skxsae.metrics import zero_shot_accuracy
    >>> codes = [[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]
    >>> result = zero_shot_accuracy(
    ...     codes, [[1.0, 0.0], [0.0, 1.0]], [0, 1, 0], return_result=True)
    >>> result.hits
    array([1., 1., 0.])
    >>> result.protocol["similarity"], result.protocol["ties"]
    ('cosine', 'pessimistic')
    """

    hits: np.ndarray
    protocol: dict

    @property
    def accuracy(self):
        """Share of the samples that are classified correctly."""
        return float(np.mean(self.hits))

    def __repr__(self):
        """Accuracy and protocol, not the hits."""
        return (
            f"ClassificationResult(accuracy={self.accuracy:.4g}, "
            f"protocol={self.protocol})"
        )

    def to_frame(self):
        """Return accuracy and protocol as a table.

        Returns
        -------
        pandas.DataFrame
            One row with the "accuracy" and a column for each choice of the protocol.
        """
        return pd.DataFrame([{"accuracy": self.accuracy, **self.protocol}])
