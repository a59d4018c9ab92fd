"""Sums over pairs whose codes are made part by part, in place of the codes of all."""

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import gen_batches

from skxsae._coactivation import (
    ROWS_OF_PRODUCT,
    Coactivation,
    DenseProduct,
    Marginals,
    Product,
)
from skxsae._matches import firings
from skxsae._noise_floor import repaired_rows
from skxsae._translation import Statistics, operator_of

# pairs that are re-paired among each other are less than twice so many, from blocks of
# so many consecutive pairs
PAIRS_IN_HAND = 2**16
PAIRS_OF_BLOCK = 2**10


def parts_of(share, rng, block_rows=None):
    """Yield the numbers of the pairs of each part of a slice of all pairs.

    A part is made of blocks from random places, in their order.
    """
    size = min(block_rows or PAIRS_OF_BLOCK, PAIRS_IN_HAND // 2)
    starts = np.arange(share.start, share.stop, size)
    n_parts = max(1, len(starts) // (PAIRS_IN_HAND // size))
    if n_parts > 1:
        starts = rng.permutation(starts)
    for own in np.array_split(starts, n_parts):
        rows = (np.sort(own)[:, None] + np.arange(size)).ravel()
        yield rows[rows < share.stop]


class RunningCoactivation:
    """Sums over codes that come part by part, in memory that does not grow."""

    def __init__(self, n_x, n_y):
        self.entries = np.zeros((n_x, n_y))
        self.x, self.y = Marginals.zeros(n_x), Marginals.zeros(n_y)

    def add(self, X, y):
        """Add the sums over two csr_arrays."""
        self.x += Marginals.from_codes(X)
        self.y += Marginals.from_codes(y)
        product = Product(X, y)
        for rows in gen_batches(len(self.entries), ROWS_OF_PRODUCT):
            self.entries[rows] += product[rows].toarray()

    def total(self, peers):
        """Add those of all processes, to the same bits in each."""
        self.x, self.y = self.x.totalled(peers), self.y.totalled(peers)
        for rows in gen_batches(len(self.entries), ROWS_OF_PRODUCT):
            block = torch.from_numpy(self.entries[rows])
            self.entries[rows] = peers.total(block).numpy()

    @property
    def sums(self):
        """The sums so far, sharing memory."""
        return Coactivation(self.x, self.y, DenseProduct(self.entries))


class PairSums:
    """What a matcher needs of the codes of pairs, in memory that does not grow."""

    def __init__(self, matcher, n_x, n_y, n_null):
        self.metric, self.n_null = matcher.metric, n_null
        self.is_soft = matcher.assignment == "soft"
        self.x, self.y = Marginals.zeros(n_x), Marginals.zeros(n_y)
        self.products: dict[str, RunningCoactivation] = {}
        self.samples: list[list] = []

    def add(self, X, y, groups, is_sampled, rng):
        """Add the codes of some pairs, two csr_arrays."""
        self.x += Marginals.from_codes(X)
        self.y += Marginals.from_codes(y)
        counts_codes = self.metric not in ("jaccard", "decoder_cosine")
        if self.is_soft:
            self._add("within_x", X, X)
            self._add("within_y", y, y)
            if not counts_codes:
                self._add("between", X, y)
            self.samples.append([X[is_sampled], y[is_sampled]])
        if self.metric != "decoder_cosine":
            counted = (X, y) if counts_codes else (firings(X), firings(y))
            self._add("matching", *counted)
            for number in range(self.n_null):
                self._add(f"null {number}", *_broken(*counted, groups, rng))

    def _add(self, name, X, y):
        """Add to the sums of a name."""
        if name not in self.products:
            self.products[name] = RunningCoactivation(X.shape[1], y.shape[1])
        self.products[name].add(X, y)

    def total(self, peers):
        """Add those of all processes, to the same bits in each."""
        self.x, self.y = self.x.totalled(peers), self.y.totalled(peers)
        for running in self.products.values():
            running.total(peers)
        self.samples = [pair for own in peers.gathered(self.samples) for pair in own]

    def null(self):
        """Sums over pairs that were broken at random, for each time."""
        return [
            running.sums
            for name, running in self.products.items()
            if name.startswith("null")
        ]

    def statistics(self):
        """What the translations of a soft assignment are made of."""
        between = "between" if "between" in self.products else "matching"
        return Statistics(
            x=self.x,
            y=self.y,
            within_x=operator_of(self.products["within_x"].entries),
            between=operator_of(self.products[between].entries),
            within_y=operator_of(self.products["within_y"].entries),
            samples=[
                sparse.vstack(view, "csr") for view in zip(*self.samples, strict=True)
            ],
        )


def _broken(X, y, groups, rng):
    """Codes of re-paired groups, or of nothing where there is only one group."""
    if len(groups) == 0 or (groups == groups[0]).all():
        return X[:0], y[:0]
    return X, y[repaired_rows(groups, rng)]
