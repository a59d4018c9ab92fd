"""In how many samples, and in which views, each latent is active."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.metrics._codes import SAME_LATENTS, check_codes, check_width

_CODES = {"codes": ["array-like", "sparse matrix"]}
_MIN_FIRES = {"min_fires": [Interval(Integral, 1, None, closed="left")]}


@validate_params(_CODES, prefer_skip_nested_validation=True)
def firing_rate(codes):
    """Share of the samples in which each latent is active.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes. A latent is active where its entry is not zero.

    Returns
    -------
    rates : ndarray of shape (n_latents,)
        Between 0 and 1.

    See Also
    --------
    energy : How strongly each latent is active.

    Examples
    --------
    >>> from skxsae.metrics import firing_rate
    >>> firing_rate([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    array([0.75, 0.  ])
    """
    codes = check_codes(codes, "codes")
    return count_fires(codes) / codes.shape[0]


@validate_params(_CODES | _MIN_FIRES, prefer_skip_nested_validation=True)
def dead_latents(codes, *, min_fires=1):
    """Mask of the latents that are never, or hardly ever, active.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    min_fires : int, default=1
        Number of samples that a latent must be active in so as not to be dead.

    Returns
    -------
    dead : ndarray of bool of shape (n_latents,)
        True for a dead latent.

    See Also
    --------
    support_split : The same for two views at once.

    Examples
    --------
    >>> from skxsae.metrics import dead_latents
    >>> dead_latents([[1.0, 0.0], [2.0, 0.0]])
    array([False,  True])
    """
    return count_fires(check_codes(codes, "codes")) < min_fires


@validate_params(
    _CODES | {"min_rate": [Interval(Real, 0, 1, closed="right")]},
    prefer_skip_nested_validation=True,
)
def always_on_latents(codes, *, min_rate=1.0):
    """Mask of the latents that are active in every sample, or in nearly every one.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    min_rate : float, default=1.0
        Share of the samples that a latent must be active in, above 0.

    Returns
    -------
    always_on : ndarray of bool of shape (n_latents,)
        True for a latent that is always on.

    See Also
    --------
    energy_shares : How much of the energy such latents have.

    Examples
    --------
    >>> from skxsae.metrics import always_on_latents
    >>> always_on_latents([[1.0, 0.0], [2.0, 1.0]])
    array([ True, False])
    """
    codes = check_codes(codes, "codes")
    # not against a product, whose rounding could exclude a rate that is reached
    return count_fires(codes) / codes.shape[0] >= min_rate


@dataclass(frozen=True, eq=False, repr=False)
class SupportSplit:
    """Latents by the views that they are active in.

    Each latent is in exactly one of the four masks.

    Parameters
    ----------
    x_only : ndarray of bool of shape (n_latents,)
        Latents that are active in the first view alone.

    y_only : ndarray of bool of shape (n_latents,)
        Latents that are active in the second view alone.

    both : ndarray of bool of shape (n_latents,)
        Latents that are active in both views.

    neither : ndarray of bool of shape (n_latents,)
        Latents that are active in neither.

    See Also
    --------
    support_split : Makes the masks.

    Examples
    --------
    >>> from skxsae.metrics import support_split
    >>> support_split([[1.0, 0.0, 2.0]], [[0.0, 0.0, 2.0]])
    SupportSplit(x_only=1, y_only=0, both=1, neither=1)
    """

    x_only: np.ndarray
    y_only: np.ndarray
    both: np.ndarray
    neither: np.ndarray

    def __repr__(self):
        """Numbers of latents, not masks."""
        counts = self.to_frame()["n_latents"]
        return f"SupportSplit({', '.join(f'{k}={n}' for k, n in counts.items())})"

    def to_frame(self):
        """Count the latents of each kind, as a table.

        Returns
        -------
        pandas.DataFrame of shape (4, 2)
            A row for each of "x_only", "y_only", "both" and "neither", with the number
            "n_latents" and its "share" of all latents.
        """
        kinds = pd.Index(["x_only", "y_only", "both", "neither"], name="active_in")
        counts = np.array([getattr(self, kind).sum() for kind in kinds])
        columns = {"n_latents": counts, "share": counts / len(self.both)}
        return pd.DataFrame(columns, index=kinds)


@validate_params(
    {"X": ["array-like", "sparse matrix"], "y": ["array-like", "sparse matrix"]}
    | _MIN_FIRES,
    prefer_skip_nested_validation=True,
)
def support_split(X, y, *, min_fires=1):
    """Split the latents by the views that they are active in.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
        Codes of the second view, with the same columns. Rows need not be paired.

    min_fires : int, default=1
        Number of samples of a view that a latent must be active in to count as active
        in the view.

    Returns
    -------
    SupportSplit
        Masks of the latents that are active in one view, in both and in neither.

    Raises
    ------
    ValueError
        If the views differ in their number of columns.

    See Also
    --------
    modality_score : The same question, weighted by energy.

    Examples
    --------
    >>> from skxsae.metrics import support_split
    >>> split = support_split([[1.0, 0.0, 2.0, 0.0]], [[0.0, 1.0, 2.0, 0.0]])
    >>> split.to_frame()
               n_latents  share
    active_in
    x_only             1   0.25
    y_only             1   0.25
    both               1   0.25
    neither            1   0.25
    """
    X, y = check_codes(X, "X"), check_codes(y, "y")
    check_width(X, y, "X", "y", SAME_LATENTS)
    in_x, in_y = (count_fires(codes) >= min_fires for codes in (X, y))
    return SupportSplit(in_x & ~in_y, in_y & ~in_x, in_x & in_y, ~(in_x | in_y))


def count_fires(codes):
    """Number of samples in which each latent of checked codes is active."""
    if not sparse.issparse(codes):
        return np.count_nonzero(codes, axis=0)
    latents = codes.indices
    if not codes.data.all():
        latents = latents[codes.data != 0]
    return np.bincount(latents, minlength=codes.shape[1])
