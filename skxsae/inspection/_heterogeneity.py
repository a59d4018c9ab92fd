"""How far apart the directions are of latents that are active together."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._affinity import affinity, is_alive
from skxsae._coactivation import Coactivation, Marginals, as_codes
from skxsae.metrics._codes import check_codes, row_norms, unit_rows

BANDS = (0, 0.2, 0.4, 0.6, 0.8, 1)

# a value that is less than an edge by no more than this is on the edge but for rounding
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class HeterogeneityReport:
    """Distances between the directions of two views, by correlation of their latents.

    Parameters
    ----------
    bands : ndarray of shape (n_bands + 1,)
        Edges of the bands of correlation.

    bin_edges : ndarray of shape (n_bins + 1,)
        Edges of the bins of cosine distance, from 0 to 2.

    counts : ndarray of shape (n_bands, n_bins)
        Number of pairs of latents in each band and bin.

    mean : ndarray of shape (n_bands,)
        Mean distance in each band, NaN where there is no pair.

    std : ndarray of shape (n_bands,)
        Standard deviation of the distances in each band (the root of the mean squared
        deviation), NaN where there is no pair.

    n_alive_x : int
        Number of latents of x that take part. Each makes a pair with each of y.

    n_alive_y : int
        Number of latents of y that take part.

    n_negative : int
        Number of pairs that are in no band as their correlation is negative.

    See Also
    --------
    heterogeneity_report : Makes a report.
    HeterogeneityDisplay : Draws one.

    Examples
    --------
    >>> from skxsae.inspection import heterogeneity_report
    >>> codes = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]
    >>> report = heterogeneity_report(codes, codes, [[1, 0], [0, 1]], [[1, 1], [0, 1]])
    >>> report
    HeterogeneityReport(n_bands=5, n_bins=100, n_alive_x=2, n_alive_y=2, n_negative=2)
    >>> report.counts.sum(axis=1)
    array([0, 0, 0, 0, 2])
    """

    bands: np.ndarray
    bin_edges: np.ndarray
    counts: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    n_alive_x: int
    n_alive_y: int
    n_negative: int

    def __repr__(self):
        """Sizes, not arrays."""
        n_bands, n_bins = self.counts.shape
        return (
            f"HeterogeneityReport(n_bands={n_bands}, n_bins={n_bins}, "
            f"n_alive_x={self.n_alive_x}, n_alive_y={self.n_alive_y}, "
            f"n_negative={self.n_negative})"
        )

    def to_frame(self):
        """Summarise the distances of each band, as a table.

        Returns
        -------
        pandas.DataFrame of shape (n_bands, 8)
            A row for each band: its edges "low" and "high", "n_pairs", and the "mean",
            "std", "lower_quartile", "median" and "upper_quartile" of the distances, NaN
            where there is no pair.

        Notes
        -----
        Mean and standard deviation are exact. Quartiles and median are read from the
        histogram, by linear interpolation inside a bin: they are off by no more than
        the width of a bin, ``2 / n_bins``.
        """
        quartiles = np.array(
            [
                [_quantile(counts, self.bin_edges, q) for q in (0.25, 0.5, 0.75)]
                for counts in self.counts
            ]
        )
        return pd.DataFrame(
            {
                "low": self.bands[:-1],
                "high": self.bands[1:],
                "n_pairs": self.counts.sum(axis=1),
                "mean": self.mean,
                "std": self.std,
                "lower_quartile": quartiles[:, 0],
                "median": quartiles[:, 1],
                "upper_quartile": quartiles[:, 2],
            }
        )


def _quantile(counts, edges, q):
    """Quantile of the values of a histogram, spread evenly over each bin."""
    reached = np.cumsum(counts)
    if reached[-1] == 0:
        return np.nan
    target = q * reached[-1]
    i = np.searchsorted(reached, target)
    return edges[i + 1] - (reached[i] - target) / counts[i] * (edges[i + 1] - edges[i])


@validate_params(
    {
        "x_codes": ["array-like", "sparse matrix"],
        "y_codes": ["array-like", "sparse matrix"],
        "x_directions": ["array-like"],
        "y_directions": ["array-like"],
        "bands": ["array-like"],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "min_fires": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def heterogeneity_report(
    x_codes,
    y_codes,
    x_directions,
    y_directions,
    *,
    bands=BANDS,
    n_bins=100,
    min_fires=1,
):
    """Tell how far apart the directions are of latents that are active together.

    Every living latent of x makes a pair with every living latent of y. Pairs are
    grouped by the Pearson correlation of the two codes, and the cosine distance of the
    two directions, 1 minus their cosine, is summarised in each group. If the two views
    had the same directions for the same concepts, the distances of well-correlated
    pairs would be near 0. In vision-language models they are not [1]_.

    Parameters
    ----------
    x_codes : {array-like, sparse matrix} of shape (n_samples, n_latents_x)
        Codes of the first view.

    y_codes : {array-like, sparse matrix} of shape (n_samples, n_latents_y)
        Codes of the second view, row i paired with row i of `x_codes`.

    x_directions : array-like of shape (n_latents_x, n_features)
        Direction of each latent of the first view, of any length: rows of a decoder,
        in the units of the space that both views share.

    y_directions : array-like of shape (n_latents_y, n_features)
        Direction of each latent of the second view.

    bands : array-like of shape (n_bands + 1,), default=(0, 0.2, 0.4, 0.6, 0.8, 1)
        Increasing edges of the bands of correlation, in [0, 1]. A band holds its lower
        edge, and the last one its upper edge too.

    n_bins : int, default=100
        Number of bins of equal width of the histogram of distances, from 0 to 2.

    min_fires : int, default=1
        Number of samples on which a latent must be active to take part.

    Returns
    -------
    HeterogeneityReport
        Histogram, mean and standard deviation of the distances in each band, with the
        method `to_frame`.

    Raises
    ------
    ValueError
        If codes and directions do not go together, `bands` does not increase, or no
        latent of a view can take part.

    See Also
    --------
    HeterogeneityDisplay : Draws the distributions, also from a fitted estimator.
    PostHocAlignedSAE : Has the cosine of the directions of each match in ``matches_``.

    Notes
    -----
    Latents that are active on fewer than `min_fires` samples, that have the same
    activation on all samples or whose direction is zero take no part. Pairs of negative
    correlation are counted in ``n_negative`` and belong to no band.

    All pairs count, but no array of shape (n_latents_x, n_latents_y) is ever made: the
    pairs are computed in blocks, in float64. What is below an edge of a band or of a
    bin by no more than 1e-12, the rounding of such sums, counts as on it.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, figures 2 and 9.

    Examples
    --------
    Concepts that are active in both views, at a cosine of 0.6 between their directions.

    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.inspection import heterogeneity_report
    >>> data = make_paired_features(2000, n_features=64, n_shared=32, n_x_only=0,
    ...     n_y_only=0, alignment=0.6, sparsity=0.9, random_state=0)
    >>> report = heterogeneity_report(
    ...     data.x_codes, data.y_codes, data.x_features, data.y_features)
    >>> report.to_frame().iloc[[0, -1], :5].round(2)
       low  high  n_pairs  mean   std
    0  0.0   0.2      464   1.0  0.12
    4  0.8   1.0       32   0.4  0.00
    """
    bands = _check_bands(bands)
    x_codes, x_directions = _check_view(x_codes, x_directions, "x")
    y_codes, y_directions = _check_view(y_codes, y_directions, "y")
    _check_pair(x_codes, y_codes, x_directions, y_directions)
    x_codes, x_directions = _alive(x_codes, x_directions, min_fires, "x")
    y_codes, y_directions = _alive(y_codes, y_directions, min_fires, "y")
    scores = affinity(Coactivation.from_codes(x_codes, y_codes), "correlation")
    sums, n_negative = _band_sums(scores, x_directions, y_directions, bands, n_bins)
    n_alive_x, n_alive_y = scores.shape
    return HeterogeneityReport(
        bands=bands,
        **_histograms(*sums),
        n_alive_x=n_alive_x,
        n_alive_y=n_alive_y,
        n_negative=n_negative,
    )


def _check_bands(bands):
    """Increasing edges in [0, 1], in float64."""
    edges = check_array(bands, dtype=np.float64, ensure_2d=False, input_name="bands")
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(
            f"bands={bands!r} must be at least two edges in increasing order, such as "
            f"{BANDS}."
        )
    if edges[0] < 0 or edges[-1] > 1:
        raise ValueError(
            f"bands={bands!r} must lie in [0, 1]: pairs of negative correlation are "
            "counted in n_negative and belong to no band."
        )
    return edges


def _check_view(codes, directions, view):
    """Finite codes and, in float64, a direction for each of their columns."""
    codes = check_codes(codes, f"{view}_codes")
    name = f"{view}_directions"
    directions = check_array(directions, dtype=np.float64, input_name=name)
    if directions.shape[0] != codes.shape[1]:
        raise ValueError(
            f"{name} has {directions.shape[0]} rows, but {view}_codes has "
            f"{codes.shape[1]} columns: both must have one for each latent. Pass the "
            "decoder as (n_latents, n_features), and codes in the order of its rows."
        )
    return codes, directions


def _check_pair(x_codes, y_codes, x_directions, y_directions):
    """Refuse views that are not of the same samples, or not in the same space."""
    if x_codes.shape[0] != y_codes.shape[0]:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: x_codes has "
            f"{x_codes.shape[0]} rows and y_codes has {y_codes.shape[0]}. Row i of "
            "both must be a pair."
        )
    if x_directions.shape[1] != y_directions.shape[1]:
        raise ValueError(
            f"x_directions has {x_directions.shape[1]} columns and y_directions has "
            f"{y_directions.shape[1]}: the distance of two directions needs one space. "
            "For views of different widths, only their codes can be compared."
        )


def _alive(codes, directions, min_fires, view):
    """Codes and unit directions of the latents that take part."""
    codes = as_codes(codes)
    alive = is_alive(Marginals.from_codes(codes), "correlation", min_fires)
    alive &= row_norms(directions) > 0
    if not alive.any():
        raise ValueError(
            f"No latent of {view} takes part: none is active on at least "
            f"min_fires={min_fires} of the {codes.shape[0]} samples, with an "
            "activation that varies and a direction that is not zero. Lower min_fires "
            "or pass more samples."
        )
    return codes[:, np.flatnonzero(alive)], unit_rows(directions[alive])


def _band_sums(scores, x_directions, y_directions, bands, n_bins):
    """Sums over the pairs of each band and bin, and the number of negative pairs."""
    sums, n_negative = np.zeros((3, (len(bands) - 1) * n_bins)), 0
    for rows, correlations in scores.blocks():
        # rounding, too, can put a correlation above 1
        correlations = np.minimum(correlations, 1)
        n_negative += int(np.count_nonzero(correlations < -_ROUNDING))
        kept = correlations >= bands[0] - _ROUNDING
        kept &= correlations <= bands[-1] + _ROUNDING
        distances = 1 - (x_directions[rows] @ y_directions.T)[kept]
        sums += _block_sums(correlations[kept], distances.clip(0, 2), bands, n_bins)
    return sums.reshape(3, -1, n_bins), n_negative


def _block_sums(correlations, distances, bands, n_bins):
    """Number, sum and sum of squares of the distances to the centre of their bin."""
    n_bands = len(bands) - 1
    in_band = np.searchsorted(bands - _ROUNDING, correlations, side="right") - 1
    in_band = np.minimum(in_band, n_bands - 1)
    in_bin = ((distances + _ROUNDING) * (n_bins / 2)).astype(np.intp)
    in_bin = np.minimum(in_bin, n_bins - 1)
    deviations = distances - (in_bin + 0.5) * (2 / n_bins)
    cells = in_band * n_bins + in_bin
    return [
        np.bincount(cells, weights=weights, minlength=n_bands * n_bins)
        for weights in (np.ones_like(deviations), deviations, deviations**2)
    ]


def _histograms(counts, total, square):
    """What the sums of `_block_sums` come to in each band."""
    n_bins = counts.shape[1]
    centers = (np.arange(n_bins) + 0.5) * (2 / n_bins)
    n_pairs = counts.sum(axis=1)
    n_pairs[n_pairs == 0] = np.nan
    mean = (counts @ centers + total.sum(axis=1)) / n_pairs
    shift = centers - mean[:, None]
    squares = (square + 2 * shift * total + shift**2 * counts).sum(axis=1)
    return {
        "bin_edges": np.linspace(0, 2, n_bins + 1),
        "counts": counts.astype(np.int64),
        "mean": mean,
        "std": np.sqrt(squares.clip(0) / n_pairs),
    }
