"""How well each latent of one view goes with each latent of another."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from joblib import cpu_count
from scipy import sparse

from skxsae._coactivation import Product

# cells of a dense block of rows: 2 MiB of float64 stay in a core's cache
BLOCK_CELLS = 2**18
# cells of a block of which only the pairs that fire together are stored
STORED_CELLS = 2**21
# scores that are held in memory, 12 bytes each, and of each latent at least
MAX_STORED = 2**22
MIN_KEPT = 512
# more threads would only compete for memory
N_THREADS = min(8, cpu_count())


class _Affinity:
    """Scores of all pairs of latents, made for blocks of x latents when needed.

    Most pairs never fire together. Their scores are the background, the product of one
    number for either latent, which needs no storage. The others are stored, or only
    those above a floor of each x latent.
    """

    floor: Any

    @property
    def shape(self) -> Any:
        """Numbers of latents of x and of y."""
        raise NotImplementedError

    @property
    def background(self) -> Any:
        """Factors of x and of y of the scores of pairs that never fire together."""
        raise NotImplementedError

    def stored_rows(self, start, stop):
        """CSR scores of the x latents start to stop that are stored."""
        raise NotImplementedError

    def hidden_bounds(self, y_price):
        """For each x latent a bound of its scores, less prices, that are not stored."""
        x_back, y_back = self.background
        bounds = upper_envelope(y_back, -y_price, x_back)
        return np.maximum(bounds, self.floor - y_price.min())

    def blocks(self):
        """Yield (rows, dense scores) over small blocks of x latents."""
        for rows in self.row_slices(BLOCK_CELLS):
            yield rows, self.rows(rows.start, rows.stop)

    def stored_blocks(self):
        """Yield (rows, CSR scores without the background) over blocks of x latents."""
        for rows in self.row_slices(STORED_CELLS):
            yield rows, self.stored_rows(rows.start, rows.stop)

    def row_slices(self, n_cells):
        """Blocks of x latents with about `n_cells` pairs."""
        n_x, n_y = self.shape
        step = max(1, n_cells // max(1, n_y))
        return [slice(i, min(i + step, n_x)) for i in range(0, max(n_x, 1), step)]

    def rows(self, start, stop):
        """Dense scores of the x latents start to stop with every y latent."""
        x_back, y_back = self.background
        scores = np.multiply.outer(x_back[start:stop], y_back)
        stored = self.stored_rows(start, stop)
        row = np.repeat(np.arange(stop - start), np.diff(stored.indptr))
        scores[row, stored.indices] = stored.data
        return scores


def _linear(cross, x_scale, y_scale, back):
    """Product of standardised activations."""
    return cross * x_scale * y_scale + back


def _absolute(cross, x_scale, y_scale, back):
    """The same without its sign."""
    return np.abs(_linear(cross, x_scale, y_scale, back))


def _overlap(cross, x_fires, y_fires, back):
    """Samples on which both fire over samples on which either does."""
    return cross / (x_fires + y_fires - cross)


@dataclass(frozen=True)
class Affinity(_Affinity):
    """Scores from co-activation, computed from the codes whenever they are needed.

    `combine` takes entries of the product, the scales of the two latents and the
    background ``-x_shift_i y_shift_j``.
    """

    product: Product
    x_scale: np.ndarray
    y_scale: np.ndarray
    x_shift: np.ndarray
    y_shift: np.ndarray
    combine: Callable = _linear

    @property
    def shape(self):
        """Numbers of latents of x and of y."""
        return self.product.shape

    @property
    def T(self):
        """The scores the other way round."""
        scales, shifts = (self.y_scale, self.x_scale), (self.y_shift, self.x_shift)
        return Affinity(self.product.T, *scales, *shifts, self.combine)

    @property
    def background(self):
        """Factors of x and of y of the scores of pairs that never fire together."""
        if self.combine is _absolute:
            return np.abs(self.x_shift), np.abs(self.y_shift)
        return -self.x_shift, self.y_shift

    def _scores(self, cross, x_latents, y_latents):
        """Scores of pairs from their entries of the product."""
        back = -self.x_shift[x_latents] * self.y_shift[y_latents]
        scales = self.x_scale[x_latents], self.y_scale[y_latents]
        return self.combine(cross, *scales, back)

    def scored(self, cross, start=0):
        """CSR scores in place of the CSR product of some x latents from `start` on."""
        counts = np.diff(cross.indptr)
        x_latents = np.repeat(np.arange(start, start + len(counts)), counts)
        scores = self._scores(cross.data, x_latents, cross.indices)
        return sparse.csr_array((scores, cross.indices, cross.indptr), cross.shape)

    def stored_rows(self, start, stop):
        """CSR scores of the pairs that fire together."""
        return self.scored(self.product[start:stop], start)

    def pairs(self, x_latents, y_latents):
        """Scores of the given pairs."""
        cross = self.product.pairs(x_latents, y_latents)
        return self._scores(cross, x_latents, y_latents)

    def select(self, x_latents, y_latents):
        """Scores among the given latents only."""
        return Affinity(
            self.product.select(x_latents, y_latents),
            self.x_scale[x_latents],
            self.y_scale[y_latents],
            self.x_shift[x_latents],
            self.y_shift[y_latents],
            self.combine,
        )

    def stored(self):
        """The same scores with the largest of each x latent held in memory."""
        n_kept = max(MIN_KEPT, MAX_STORED // max(1, self.shape[0]))

        def largest(rows):
            return _largest_of_rows(self.stored_rows(rows.start, rows.stop), n_kept)

        with ThreadPoolExecutor(N_THREADS) as threads:
            parts = list(threads.map(largest, self.row_slices(STORED_CELLS)))
        blocks, floors = zip(*parts, strict=True)
        scores = _joined(blocks, self.shape)
        x_back, y_back = self.background
        return StoredAffinity(scores, x_back, y_back, np.concatenate(floors), self)


def _largest_of_rows(scores, n_kept):
    """The largest entries of each row, and a bound of those left out or -inf."""
    counts = np.diff(scores.indptr)
    floor = np.full(len(counts), -np.inf)
    if (counts <= n_kept).all():
        return scores, floor
    kept = np.ones(len(scores.data), dtype=bool)
    for i in np.flatnonzero(counts > n_kept):
        entries = slice(scores.indptr[i], scores.indptr[i + 1])
        row = scores.data[entries]
        left_out = np.argpartition(row, counts[i] - n_kept)[: counts[i] - n_kept]
        floor[i] = row[left_out].max()
        kept[scores.indptr[i] + left_out] = False
    indptr = np.concatenate([[0], np.cumsum(kept)])[scores.indptr]
    parts = scores.data[kept], scores.indices[kept], indptr
    return sparse.csr_array(parts, scores.shape), floor


@dataclass(frozen=True)
class StoredAffinity(_Affinity):
    """Scores of which those above a floor of each x latent are held in memory."""

    scores: sparse.csr_array
    x_back: np.ndarray
    y_back: np.ndarray
    floor: np.ndarray  # (n_latents_x,), -inf where nothing is left out
    exact: Any = None  # the `Affinity` that computes what is left out

    @property
    def shape(self):
        """Numbers of latents of x and of y."""
        return self.scores.shape

    @cached_property
    def T(self):
        """The scores the other way round."""
        floor = np.full(self.shape[1], self.floor.max(initial=-np.inf))
        exact = None if self.exact is None else self.exact.T
        scores = sparse.csr_array(self.scores.T)
        return StoredAffinity(scores, self.y_back, self.x_back, floor, exact)

    @property
    def background(self):
        """Factors of x and of y of the scores of pairs that never fire together."""
        return self.x_back, self.y_back

    def stored_rows(self, start, stop):
        """CSR scores above the floor, sharing memory."""
        indptr = self.scores.indptr[start : stop + 1]
        entries = slice(indptr[0], indptr[-1])
        parts = self.scores.data[entries], self.scores.indices[entries]
        shape = stop - start, self.shape[1]
        return sparse.csr_array((*parts, indptr - indptr[0]), shape)

    def rows(self, start, stop):
        """Dense scores of the x latents start to stop with every y latent."""
        if np.isneginf(self.floor[start:stop]).all():
            return super().rows(start, stop)
        return self.exact.rows(start, stop)

    def pairs(self, x_latents, y_latents):
        """Scores of the given pairs."""
        scores = self.x_back[x_latents] * self.y_back[y_latents]
        if len(scores) == 0:  # SciPy would return a sparse matrix
            return scores
        ones = np.ones(self.scores.nnz, dtype=bool)
        parts = ones, self.scores.indices, self.scores.indptr
        is_stored = sparse.csr_array(parts, self.shape)[x_latents, y_latents]
        scores = np.where(is_stored, self.scores[x_latents, y_latents], scores)
        left_out = np.flatnonzero(~is_stored & (self.floor[x_latents] > -np.inf))
        if len(left_out):
            x_latents, y_latents = x_latents[left_out], y_latents[left_out]
            scores[left_out] = self.exact.pairs(x_latents, y_latents)
        return scores

    def select(self, x_latents, y_latents):
        """Scores among the given latents only."""
        return StoredAffinity(
            self.scores[x_latents][:, y_latents],
            self.x_back[x_latents],
            self.y_back[y_latents],
            self.floor[x_latents],
            self.exact and self.exact.select(x_latents, y_latents),
        )


def _joined(blocks, shape):
    """CSR blocks of rows as one csr_array, faster than `sparse.vstack`."""
    parts = [[getattr(b, name) for b in blocks] for name in ("data", "indices")]
    data, indices = map(np.concatenate, parts)
    counts = np.concatenate([np.diff(block.indptr) for block in blocks])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(indices.dtype)
    return sparse.csr_array((data, indices, indptr), shape)


@dataclass(frozen=True)
class DirectionAffinity(_Affinity):
    """Cosines of the directions of two dictionaries."""

    x_directions: np.ndarray  # (n_latents_x, n_features), unit rows or zeros
    y_directions: np.ndarray

    @property
    def shape(self):
        """Numbers of latents of x and of y."""
        return len(self.x_directions), len(self.y_directions)

    @property
    def T(self):
        """The scores the other way round."""
        return DirectionAffinity(self.y_directions, self.x_directions)

    @property
    def background(self):
        """Factors of a background that no pair has."""
        return tuple(np.zeros(n) for n in self.shape)

    def hidden_bounds(self, y_price):
        """All scores are stored."""
        return np.full(len(self.x_directions), -np.inf)

    def stored_rows(self, start, stop):
        """CSR cosines of all pairs."""
        scores = self.rows(start, stop)
        n_rows, n_y = scores.shape
        indices = np.tile(np.arange(n_y, dtype=np.int32), n_rows)
        indptr = np.arange(0, scores.size + 1, max(n_y, 1))
        return sparse.csr_array((scores.ravel(), indices, indptr), scores.shape)

    def rows(self, start, stop):
        """Cosines of the x latents start to stop with every y latent."""
        return self.x_directions[start:stop] @ self.y_directions.T

    def pairs(self, x_latents, y_latents):
        """Cosines of the given pairs."""
        x, y = self.x_directions[x_latents], self.y_directions[y_latents]
        return np.einsum("ij,ij->i", x, y)

    def select(self, x_latents, y_latents):
        """Cosines among the given latents only."""
        x, y = self.x_directions[x_latents], self.y_directions[y_latents]
        return DirectionAffinity(x, y)


def direction_affinity(x_directions, y_directions):
    """Cosines of directions of any length, 0 for a direction of length 0."""
    unit = []
    for directions in (x_directions, y_directions):
        directions = np.asarray(directions, dtype=np.float64)
        norms = np.linalg.norm(directions, axis=1, keepdims=True)
        unit.append(directions / np.where(norms > 0, norms, 1.0))
    return DirectionAffinity(*unit)


def _centred(marginals):
    """Scale and shift that turn sums of products into Pearson correlations."""
    scale = _reciprocal(marginals.spread())
    return scale, marginals.total * scale / np.sqrt(marginals.n_samples)


def _uncentred(marginals):
    """Scale and shift that turn sums of products into cosines."""
    scale = _reciprocal(np.sqrt(marginals.square))
    return scale, np.zeros_like(scale)


def _counted(marginals):
    """Numbers of firings, and no shift: latents that never meet overlap by nothing."""
    return marginals.fires.astype(np.float64), np.zeros(len(marginals.fires))


def _reciprocal(values):
    """1 / values, and 0 where a value is 0."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


# terms of a latent from its sums, and how they make the score of a pair
METRICS = {
    "correlation": (_centred, _linear),
    "absolute_correlation": (_centred, _absolute),
    "cosine": (_uncentred, _linear),
    "jaccard": (_counted, _overlap),
}


def affinity(coactivation, metric):
    """Scores under one of `METRICS`, 0 for a latent on which it is undefined.

    Under "jaccard" the sums must be those of codes that are 0 or 1.
    """
    terms, combine = METRICS[metric]
    x_scale, x_shift = terms(coactivation.x)
    y_scale, y_shift = terms(coactivation.y)
    cross = coactivation.cross
    scores = Affinity(cross, x_scale, y_scale, x_shift, y_shift, combine)
    if not isinstance(cross, sparse.csr_array):
        return scores.stored()
    x_back, y_back = scores.background
    nothing_left_out = np.full(cross.shape[0], -np.inf)
    return StoredAffinity(scores.scored(cross), x_back, y_back, nothing_left_out)


def is_alive(marginals, metric, min_fires):
    """Mask of the latents that fire often enough and on which the metric is defined."""
    scale, _ = METRICS[metric][0](marginals)
    return (marginals.fires >= min_fires) & (scale > 0)


def upper_envelope(slopes, intercepts, at):
    """Largest of ``slopes * t + intercepts`` for each t in `at`."""
    hull: list[tuple[float, float]] = []
    order = np.lexsort((intercepts, slopes))
    lines = slopes[order].tolist(), intercepts[order].tolist()
    for line in zip(*lines, strict=True):
        while hull and (hull[-1][0] == line[0] or _is_below(hull, line)):
            hull.pop()
        hull.append(line)
    slopes, intercepts = np.array(hull).T
    with np.errstate(over="ignore"):  # lines that are all but parallel meet far out
        crossings = -np.diff(intercepts) / np.diff(slopes)
    best = np.searchsorted(crossings, at)
    return slopes[best] * at + intercepts[best]


def _is_below(hull, line):
    """Whether the last line of a hull is nowhere above its neighbours."""
    if len(hull) < 2:
        return False
    (first, a), (middle, b) = hull[-2:]
    slope, intercept = line
    return (intercept - a) * (middle - first) >= (b - a) * (slope - first)
