"""Co-activation of the latents of two views, from sparse codes only."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import check_array, gen_batches

# latents of x whose products fit the cache
ROWS_OF_PRODUCT = 256
PAIRS_AT_ONCE = 4096


def as_codes(Z):
    """Codes as a csr_array without duplicates, with int32 indices where they fit."""
    codes = sparse.csr_array(Z)
    if not codes.has_canonical_format:
        codes = codes.copy()
        codes.sum_duplicates()
    small = max(codes.nnz, *codes.shape) <= np.iinfo(np.int32).max
    index = np.int32 if small else np.int64
    indices, indptr = codes.indices.astype(index), codes.indptr.astype(index)
    return sparse.csr_array((codes.data, indices, indptr), shape=codes.shape)


@dataclass(frozen=True, eq=False)
class Marginals:
    """Float64 sums over the samples of one view, each of shape (n_latents,)."""

    n_samples: int
    fires: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def zeros(cls, n_latents):
        """Sums over no samples."""
        return cls.from_codes(sparse.csr_array((0, n_latents)))

    @classmethod
    def from_codes(cls, codes):
        """Sums over the rows of a csr_array."""
        data = codes.data.astype(np.float64)
        fires, total, square = (
            np.bincount(codes.indices, weights=weights, minlength=codes.shape[1])
            for weights in (data != 0, data, data * data)
        )
        return cls(codes.shape[0], fires.astype(np.int64), total, square)

    def __add__(self, other):
        """Sums over the samples of both."""
        return Marginals(
            self.n_samples + other.n_samples,
            self.fires + other.fires,
            self.total + other.total,
            self.square + other.square,
        )

    def totalled(self, peers):
        """Sums over the samples of all processes."""
        return Marginals(
            int(peers.total(torch.tensor(self.n_samples))),
            *(
                peers.total(torch.from_numpy(part)).numpy()
                for part in (self.fires, self.total, self.square)
            ),
        )

    def __getitem__(self, latents):
        """Sums of the given latents only."""
        return Marginals(
            self.n_samples,
            self.fires[latents],
            self.total[latents],
            self.square[latents],
        )

    def spread(self):
        """Root of the centred sum of squares, 0 for a latent that does not vary."""
        variation = self.square - self.total**2 / self.n_samples
        rounding = self.n_samples * np.finfo(np.float64).eps * self.square
        return np.sqrt(np.where(variation > rounding, variation, 0.0))


class Product:
    """``X.T @ y`` of two csr_arrays, of which rows are computed when asked for."""

    def __init__(self, X, y):
        self.X, self.y = (codes.astype(np.float64, copy=False) for codes in (X, y))
        # made here, as threads share it
        self._by_latent = sparse.csr_array(self.X.T)

    @property
    def shape(self):
        """Numbers of latents of X and of y."""
        return self.X.shape[1], self.y.shape[1]

    @property
    def T(self):
        """``y.T @ X``."""
        return Product(self.y, self.X)

    def __getitem__(self, rows):
        """A slice of the rows as a csr_array."""
        return self._by_latent[rows] @ self.y

    def pairs(self, x_latents, y_latents):
        """Entries of the given pairs."""
        other = sparse.csr_array(self.y.T)
        entries = np.empty(len(x_latents))
        for rows in gen_batches(len(entries), PAIRS_AT_ONCE):
            products = self._by_latent[x_latents[rows]] * other[y_latents[rows]]
            entries[rows] = np.asarray(products.sum(axis=1)).ravel()
        return entries

    def select(self, x_latents, y_latents):
        """The product of the given latents only."""
        return Product(self.X[:, x_latents], self.y[:, y_latents])

    def stored(self):
        """All rows as one csr_array, computed in blocks that fit the cache."""
        n_x = self.shape[0]
        starts = range(0, max(n_x, 1), ROWS_OF_PRODUCT)
        blocks = [self[start : start + ROWS_OF_PRODUCT] for start in starts]
        return sparse.vstack(blocks, format="csr") if n_x else blocks[0]


class DenseProduct:
    """``X.T @ y`` as an array."""

    def __init__(self, entries):
        self.entries = entries

    @property
    def shape(self):
        """Numbers of latents of X and of y."""
        return self.entries.shape

    @property
    def T(self):
        """``y.T @ X``, sharing memory."""
        return DenseProduct(self.entries.T)

    def __getitem__(self, rows):
        """A slice of the rows as a csr_array."""
        return sparse.csr_array(self.entries[rows])

    def pairs(self, x_latents, y_latents):
        """Entries of the given pairs."""
        return self.entries[x_latents, y_latents]

    def select(self, x_latents, y_latents):
        """The product of the given latents only, which are in increasing order."""
        if (len(x_latents), len(y_latents)) == self.shape:
            return self
        return DenseProduct(self.entries[np.ix_(x_latents, y_latents)])


@dataclass(frozen=True, eq=False)
class Coactivation:
    """Sums over paired codes that a matching needs; ``a + b`` are those of both parts.

    Codes of any number of pairs are read batch by batch, on one machine or on many:
    the sums of the parts are the sums of the whole, in float64. They pickle.

    Parameters
    ----------
    x : Marginals
        Number of samples, and for each latent of X how often it fires, the sum and the
        sum of squares of its activations.

    y : Marginals
        The same of y.

    cross : csr_array of shape (n_latents_x, n_latents_y)
        The product ``X.T @ y``, of which only latents that fire together are stored.

    See Also
    --------
    CoactivationMatcher.fit_coactivation : Match latents from these sums.

    Examples
    --------
    >>> from scipy import sparse
    >>> from skxsae import Coactivation, CoactivationMatcher
    >>> codes = sparse.random_array((1000, 5), density=0.1, format="csr", rng=0)
    >>> parts = [codes[:300], codes[300:]]
    >>> sums = [Coactivation.from_codes(Z[:, [3, 0, 4, 1]], Z) for Z in parts]
    >>> CoactivationMatcher().fit_coactivation(sums[0] + sums[1]).matching_
    array([ 1,  3, -1,  0,  2])
    """

    x: Marginals
    y: Marginals
    cross: sparse.csr_array | Product | DenseProduct

    def __repr__(self):
        """Sizes, not arrays."""
        n_x, n_y = self.cross.shape
        return f"Coactivation(n_samples={self.x.n_samples}, n_latents=({n_x}, {n_y}))"

    @classmethod
    def from_codes(cls, X, y):
        """Sums over some paired codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_latents_x)
            Codes of the first view.

        y : {array-like, sparse matrix} of shape (n_samples, n_latents_y)
            Codes of the paired samples in the second view.

        Returns
        -------
        coactivation : Coactivation
            Their sums.
        """
        X, y = (
            as_codes(check_array(Z, accept_sparse="csr", input_name=name))
            for Z, name in ((X, "X"), (y, "y"))
        )
        if X.shape[0] != y.shape[0]:
            raise ValueError(
                f"X has {X.shape[0]} rows and y has {y.shape[0]}, but row i of both "
                "must be a pair."
            )
        cross = Product(X, y).stored()
        return cls(Marginals.from_codes(X), Marginals.from_codes(y), cross)

    def __radd__(self, other):
        """The same sums, as `sum` begins with a 0."""
        is_start = isinstance(other, int) and other == 0
        return self if is_start else NotImplemented

    def __add__(self, other):
        """Sums over the samples of both."""
        if self.cross.shape != other.cross.shape:
            raise ValueError(
                f"{self} and {other} are not of the same latents and cannot be added."
            )
        return Coactivation(
            self.x + other.x, self.y + other.y, self.cross + other.cross
        )


def of_latents(sums, x_latents, y_latents):
    """A `Coactivation` of the given latents only."""
    if isinstance(sums.cross, sparse.csr_array):
        cross = sums.cross[x_latents][:, y_latents]
    else:
        cross = sums.cross.select(x_latents, y_latents)
    return Coactivation(sums.x[x_latents], sums.y[y_latents], cross)
