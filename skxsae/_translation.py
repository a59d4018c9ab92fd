"""Codes of one view in the latents of the other, through all that fires together."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh, svds

from skxsae._affinity import METRICS
from skxsae._coactivation import Marginals
from skxsae._encoding import csr_from_blocks
from skxsae._picking import largest
from skxsae._validation import resolve_device
from skxsae._views import as_tensor, row_blocks

# up to this many latents per component all components are computed at once
DENSE_RATIO = 4
# length of the translated part of a code to that of the code itself. The cosine of two
# codes is the similarity through all pairs as this grows; at 4 little is missing
_LENGTH_RATIO = 4.0
# translated latents to active latents
_ACTIVE_RATIO = 5
_SAMPLE = 4096


@dataclass(frozen=True, eq=False)
class Translation:
    """A map of low rank, of which each sample keeps the largest positive entries.

    A code ``z`` becomes the `n_active` largest of ``weight * (z @ source) @ target.T``.
    """

    source: np.ndarray  # (n_latents of the view itself, rank)
    target: np.ndarray  # (n_latents of the other view, rank)
    n_active: int
    weight: float

    def __call__(self, codes, device="cpu"):
        """Translated codes of a csr_array, as a csr_array."""
        shape = (codes.shape[0], len(self.target))
        return csr_from_blocks(self._blocks(codes, resolve_device(device)), shape)

    def _blocks(self, codes, device):
        """Values and numbers of the translated latents of blocks of rows."""
        target = as_tensor(self.target.astype(codes.dtype)).to(device)
        source = self.weight * self.source.astype(codes.dtype)
        n_active = min(self.n_active, len(target))
        for rows in row_blocks(codes, width=len(target)):
            reduced = torch.from_numpy(codes[rows] @ source)
            values, latents = largest(reduced.to(device) @ target.T, n_active)
            yield values.relu(), latents

    def pairs(self, latents, others):
        """Weight of each of the given latents for each of the given other ones."""
        return self.weight * self.source[latents] @ self.target[others].T

    def placed(self, columns, other_columns, width):
        """The same between codes of `width` columns, of which these are the latents."""
        return replace(
            self,
            source=_placed_rows(self.source, columns, width),
            target=_placed_rows(self.target, other_columns, width),
        )


def _placed_rows(rows, places, n_rows):
    """Rows at their places among rows of zeros."""
    placed = np.zeros((n_rows, rows.shape[1]), dtype=rows.dtype)
    placed[places] = rows
    return placed


@dataclass(frozen=True, eq=False)
class Statistics:
    """What translations are made of: sums, products, and a sample of the codes."""

    x: Marginals
    y: Marginals
    within_x: LinearOperator  # X.T @ X
    between: LinearOperator  # X.T @ y
    within_y: LinearOperator  # y.T @ y
    samples: list  # codes of X and of y, for the length of what is translated

    @classmethod
    def from_codes(cls, X, y):
        """Of two csr_arrays in memory, whose products are only applied."""
        codes = [Z.astype(np.float64) for Z in (X, y)]
        transposed = [sparse.csr_array(Z.T) for Z in codes]
        step = sample_step(X.shape[0])

        def product(i, j):
            return _product_of_codes(codes[i], codes[j], transposed[i], transposed[j])

        return cls(
            x=Marginals.from_codes(X),
            y=Marginals.from_codes(y),
            within_x=product(0, 0),
            between=product(0, 1),
            within_y=product(1, 1),
            samples=[X[::step], y[::step]],
        )


def sample_step(n_samples):
    """Every how many samples one is taken whose translation is measured."""
    return -(-n_samples // _SAMPLE)


def _product_of_codes(a, b, a_transposed, b_transposed):
    """``a.T @ b`` of two csr_arrays as an operator."""
    return _as_operator(
        (a.shape[1], b.shape[1]),
        lambda V: a_transposed @ (b @ V),
        lambda V: b_transposed @ (a @ V),
    )


def operator_of(entries):
    """A 2-D array as an operator."""
    return _as_operator(entries.shape, lambda V: entries @ V, lambda V: entries.T @ V)


def _as_operator(shape, forward, backward):
    """An operator of functions that take several vectors as columns."""
    return LinearOperator(
        shape,
        matvec=lambda v: forward(v.reshape(-1, 1)).ravel(),
        rmatvec=lambda v: backward(v.reshape(-1, 1)).ravel(),
        matmat=forward,
        rmatmat=backward,
        dtype=np.float64,
    )


def fit_translations(statistics, *, min_fires, shrinkage, rank, n_active, random_state):
    """Translations of the codes X into latents of y, and of y into those of X.

    With ``R_x`` and ``R_y`` the correlations of latents within each view, shrunk
    towards the identity, and ``C`` those between the views, both go through the `rank`
    largest components of ``R_x**-0.5 @ C @ R_y**-0.5``. A latent enters over the root
    of its standard deviation.
    """
    x, y = (_Standardised(sums, min_fires) for sums in (statistics.x, statistics.y))
    x_sample, y_sample = statistics.samples
    if min(x.n_alive, y.n_alive) == 0:  # nothing to translate
        left, right = (np.zeros((len(view.scale), 1)) for view in (x, y))
    else:
        rng = np.random.default_rng(random_state.randint(2**31 - 1))
        within_x = correlations(x, x, statistics.within_x)
        within_y = correlations(y, y, statistics.within_y)
        x_root = _inverse_root(within_x, x.n_alive, shrinkage, rank, rng)
        y_root = _inverse_root(within_y, y.n_alive, shrinkage, rank, rng)
        between = x_root @ correlations(x, y, statistics.between) @ y_root
        left, strength, right = _largest_components(between, rank, rng)
        left, right = left * np.sqrt(strength), right * np.sqrt(strength)
    return (
        _scaled(x_sample, x, left, right, n_active),
        _scaled(y_sample, y, right, left, n_active),
    )


class _Standardised:
    """What makes the columns of the codes of one view mean 0 and length 1."""

    def __init__(self, marginals, min_fires):
        self.marginals = marginals
        alive = marginals.fires >= min_fires
        scale, shift = METRICS["correlation"][0](marginals)
        self.scale, self.shift = (np.where(alive, part, 0) for part in (scale, shift))
        self.n_alive = np.count_nonzero(self.scale)

    def deviations(self):
        """Standard deviation of each latent, 0 for one that is left out."""
        spread = np.zeros_like(self.scale)
        np.divide(1, self.scale, out=spread, where=self.scale > 0)
        return spread / np.sqrt(self.marginals.n_samples)


def correlations(x, y, product):
    """Correlations of all latents of two standardised views, as an operator."""

    def forward(V):
        cross = product.matmat(y.scale[:, None] * V)
        return x.scale[:, None] * cross - np.outer(x.shift, y.shift @ V)

    def backward(V):
        cross = product.rmatmat(x.scale[:, None] * V)
        return y.scale[:, None] * cross - np.outer(y.shift, x.shift @ V)

    return _as_operator(product.shape, forward, backward)


def _inverse_root(within, n_alive, shrinkage, rank, rng):
    """Inverse root of the shrunk correlations within a view, as an operator.

    Directions behind the `rank` largest count as equally strong.
    """
    values, vectors = _largest_eigenpairs(within, rank, rng)
    n_rest = max(n_alive - len(values), 1)
    rest = max(n_alive - values.sum(), 0.0) / n_rest
    of_rest = ((1 - shrinkage) * rest + shrinkage) ** -0.5
    more = ((1 - shrinkage) * values + shrinkage) ** -0.5 - of_rest

    def root(V):
        return of_rest * V + vectors @ (more[:, None] * (vectors.T @ V))

    return _as_operator((len(vectors),) * 2, root, root)


def _largest_eigenpairs(operator, rank, rng):
    """The `rank` largest eigenvalues of a symmetric operator, and their vectors."""
    n = operator.shape[0]
    if n <= DENSE_RATIO * rank:
        values, vectors = np.linalg.eigh(operator @ np.eye(n))
        values, vectors = values[-rank:], vectors[:, -rank:]
    else:
        values, vectors = eigsh(operator, rank, v0=rng.standard_normal(n))
    return np.maximum(values, 0.0), vectors


def _largest_components(operator, rank, rng):
    """The `rank` largest singular values of an operator, and vectors as columns."""
    n = min(operator.shape)
    if n <= DENSE_RATIO * rank:
        dense = operator @ np.eye(operator.shape[1])
        left, values, right = np.linalg.svd(dense, full_matrices=False)
    else:
        left, values, right = svds(operator, rank, v0=rng.standard_normal(n))
    return left[:, :rank], values[:rank], right[:rank].T


def _scaled(sample, view, own, other, n_active):
    """A translation whose length is in a fixed ratio to that of the sampled codes."""
    spread = np.sqrt(view.deviations())[:, None]
    source = np.divide(own, spread, out=np.zeros_like(own), where=spread > 0)
    if n_active == "auto":
        active = view.marginals.fires.sum() / view.marginals.n_samples
        n_active = max(1, round(_ACTIVE_RATIO * active))
    parts = (source.astype(sample.dtype), other.astype(sample.dtype))
    lengths = [
        np.sqrt(np.square(part.data, dtype=np.float64).sum() / part.shape[0])
        for part in (sample, Translation(*parts, n_active, 1.0)(sample))
    ]
    weight = _LENGTH_RATIO * lengths[0] / lengths[1] if lengths[1] > 0 else 0.0
    return Translation(*parts, n_active, float(weight))
