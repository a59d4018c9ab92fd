"""How much of their space the directions of a dictionary fill."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import svdvals
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import validate_params

from skxsae.metrics._codes import unit_rows
from skxsae.metrics._dictionary import check_dictionary, is_present
from skxsae.metrics._modality import check_energies

_ROWS_PER_BATCH = 512

_DICTIONARY = {"components": ["array-like"]}
_WEIGHTED = _DICTIONARY | {"energies": ["array-like", None]}


@validate_params(_WEIGHTED, prefer_skip_nested_validation=True)
def stable_rank(components, *, energies=None):
    """Squared Frobenius norm of a dictionary over its squared spectral norm.

    The number of directions that are as strong as the strongest one. It is 1 where all
    rows point along one line, and the rank where all singular values are equal.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions, used with the lengths that they have. Rows of zeros or NaN are
        absent latents.

    energies : array-like of shape (n_latents,), default=None
        Energy of each latent, such as that of :func:`energy`. If given, each row is
        multiplied by its energy.

    Returns
    -------
    float
        Between 1 and the rank of the dictionary.

    Raises
    ------
    ValueError
        If no latent is present, or none has energy.

    See Also
    --------
    effective_rank : The same from the entropy of the singular values.
    dictionary_report : All measures of a dictionary at once.

    Examples
    --------
    >>> from skxsae.metrics import stable_rank
    >>> round(stable_rank([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), 6)
    1.5
    """
    return _stable_rank(_singular_values(_check_weighted(components, energies)))


@validate_params(_WEIGHTED, prefer_skip_nested_validation=True)
def effective_rank(components, *, energies=None):
    """Exponential of the entropy of a dictionary's singular values.

    The singular values are divided by their sum. It is the rank where all of them are
    equal, and closer to it than :func:`stable_rank` where they differ.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions, used with the lengths that they have. Rows of zeros or NaN are
        absent latents.

    energies : array-like of shape (n_latents,), default=None
        Energy of each latent, such as that of :func:`energy`. If given, each row is
        multiplied by its energy.

    Returns
    -------
    float
        Between 1 and the rank of the dictionary.

    Raises
    ------
    ValueError
        If no latent is present, or none has energy.

    See Also
    --------
    stable_rank : The same from the norms.

    Examples
    --------
    >>> from skxsae.metrics import effective_rank
    >>> round(effective_rank([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), 6)
    2.0
    """
    return entropy_rank(_singular_values(_check_weighted(components, energies)))


@validate_params(
    _DICTIONARY | {"absolute": ["boolean"]}, prefer_skip_nested_validation=True
)
def coherence(components, *, absolute=False):
    """Largest cosine between two different directions of a dictionary.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions of any length. Rows of zeros or NaN are absent latents.

    absolute : bool, default=False
        Whether opposite directions are close to each other. The iso-energy paper takes
        the signed cosine, compressed sensing the absolute one.

    Returns
    -------
    float
        1 if a direction is there twice; NaN if there is only one. It takes
        ``n_latents ** 2 * n_features_in`` operations and a block of cosines.

    Examples
    --------
    >>> from skxsae.metrics import coherence
    >>> coherence([[1.0, 0.0], [0.0, 2.0], [-3.0, -4.0]])
    0.0
    >>> coherence([[1.0, 0.0], [0.0, 2.0], [-3.0, -4.0]], absolute=True)
    0.8
    """
    return _coherence(check_dictionary(components, "components"), absolute)


@dataclass(frozen=True)
class DictionaryReport:
    """Measures of a dictionary, as :func:`dictionary_report` returns them.

    Parameters
    ----------
    n_latents : int
        Number of directions that are present.

    stable_rank : float
        See :func:`skxsae.metrics.stable_rank`.

    effective_rank : float
        See :func:`skxsae.metrics.effective_rank`.

    weighted_stable_rank : float
        The same with each row multiplied by its energy; NaN without energies.

    weighted_effective_rank : float
        The same with each row multiplied by its energy; NaN without energies.

    coherence : float
        See :func:`skxsae.metrics.coherence`.

    Examples
    --------
    >>> from skxsae.metrics import DictionaryReport
    >>> report = DictionaryReport(2, 2.0, 2.0, 1.25, 1.7, 0.0)
    >>> report.weighted_stable_rank
    1.25
    """

    n_latents: int
    stable_rank: float
    effective_rank: float
    weighted_stable_rank: float
    weighted_effective_rank: float
    coherence: float

    def to_frame(self):
        """One row per measure.

        Returns
        -------
        pandas.DataFrame
            Column "value", indexed by "measure".
        """
        return as_frame(self)


@validate_params(_WEIGHTED, prefer_skip_nested_validation=True)
def dictionary_report(components, energies=None):
    """Summarise the geometry of a dictionary, each measure computed once.

    These are the rows "Structure in D" of Tables 3 and 4 of [1]_.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions. Rows of zeros or NaN are absent latents.

    energies : array-like of shape (n_latents,), default=None
        Energy of each latent, for the weighted ranks.

    Returns
    -------
    DictionaryReport
        Ranks and coherence, with the method `to_frame`.

    Raises
    ------
    ValueError
        If no latent is present, or none has energy.

    See Also
    --------
    code_report : The same for codes.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix E.2.

    Examples
    --------
    >>> from skxsae.metrics import dictionary_report
    >>> report = dictionary_report([[1.0, 0.0], [0.0, 1.0]], energies=[2.0, 1.0])
    >>> report.to_frame().round(2)
                             value
    measure
    n_latents                 2.00
    stable_rank               2.00
    effective_rank            2.00
    weighted_stable_rank      1.25
    weighted_effective_rank   1.89
    coherence                 0.00
    """
    components = check_dictionary(components, "components")
    plain = _singular_values(components)
    weighted = None
    if energies is not None:
        weighted = _singular_values(_weigh(components, energies))
    return DictionaryReport(
        int(is_present(components).sum()),
        _stable_rank(plain),
        entropy_rank(plain),
        np.nan if weighted is None else _stable_rank(weighted),
        np.nan if weighted is None else entropy_rank(weighted),
        _coherence(components, False),
    )


def as_frame(report):
    """Table of the fields of a report."""
    fields = report.__dataclass_fields__
    values = np.array([getattr(report, name) for name in fields], dtype=np.float64)
    index = pd.Index(list(fields), name="measure")
    return pd.DataFrame({"value": values}, index=index)


def _check_weighted(components, energies):
    """Checked rows of a dictionary, multiplied by their energies if there are any."""
    components = check_dictionary(components, "components")
    return components if energies is None else _weigh(components, energies)


def _weigh(components, energies):
    """Rows of a checked dictionary multiplied by their energies."""
    energies = check_energies(energies, "energies", len(components))
    weighted = components * energies[:, None]
    if not weighted.any():
        raise ValueError("energies are 0 for every latent of components: no rank.")
    return weighted


def _singular_values(matrix):
    """Singular values relative to the largest."""
    values = svdvals(matrix / np.abs(matrix).max())
    return values / values[0]


def _stable_rank(values):
    """Sum of squared singular values, of which the largest is 1."""
    return float(np.sum(values**2))


def entropy_rank(values):
    """Exponential of the entropy of non-negative values."""
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _coherence(components, absolute):
    """Largest cosine of two different rows, each pair seen once."""
    unit = unit_rows(components[is_present(components)])
    largest = np.nan
    for rows in gen_batches(len(unit), _ROWS_PER_BATCH):
        cosines = unit[rows] @ unit[rows.start :].T
        if absolute:
            np.abs(cosines, out=cosines)
        np.fill_diagonal(cosines, -np.inf)  # its own cosine
        largest = np.fmax(largest, cosines.max())
    return float(largest) if len(unit) > 1 else np.nan
