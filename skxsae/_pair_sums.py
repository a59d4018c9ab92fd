"""Sums over pairs whose codes are made part by part, in place of the codes of all."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skxsae._coactivation import Coactivation, Marginals
from skxsae._matches import firings
from skxsae._noise_floor import repaired_rows
from skxsae._translation import Statistics, stored_product

# pairs that are re-paired among each other are at least so many and less than twice
# as many, from blocks of so many consecutive pairs
PAIRS_IN_HAND = 2**16
PAIRS_OF_BLOCK = 2**10


def parts_of(share, rng, block_rows=None):
    """Yield the numbers of the pairs of each part of a slice of all pairs.

    A part is made of blocks from random places, in their order.
    """
    size = block_rows or PAIRS_OF_BLOCK
    starts = np.arange(share.start, share.stop, size)
    n_parts = max(1, len(starts) // max(2, PAIRS_IN_HAND // size))
    if n_parts > 1:
        starts = rng.permutation(starts)
    for own in np.array_split(starts, n_parts):
        rows = (np.sort(own)[:, None] + np.arange(size)).ravel()
        yield rows[rows < share.stop]


@dataclass(frozen=True, eq=False)
class PairSums:
    """What a matcher needs of the codes of some pairs; ``a + b`` is that of both.

    The memory that it takes does not depend on the number of pairs.
    """

    x: Marginals
    y: Marginals
    products: dict  # Coactivation by name
    null: list  # Coactivation of pairs that were broken at random, for each time
    samples: list  # some codes of X and of y, csr_arrays

    @classmethod
    def of_part(cls, X, y, groups, is_sampled, matcher, n_null, rng):
        """Sums that a matcher with these parameters needs of two csr_arrays."""
        products, null, samples = {}, [], []
        counts_codes = matcher.metric not in ("jaccard", "decoder_cosine")
        if matcher.assignment == "soft":
            products["within_x"] = Coactivation.of_codes(X, X)
            products["within_y"] = Coactivation.of_codes(y, y)
            if not counts_codes:
                products["between"] = Coactivation.of_codes(X, y)
            samples = [X[is_sampled], y[is_sampled]]
        if matcher.metric != "decoder_cosine":
            counted = (X, y) if counts_codes else (firings(X), firings(y))
            products["matching"] = Coactivation.of_codes(*counted)
            null = [_broken(*counted, groups, rng) for _ in range(n_null)]
        marginals = Marginals.from_codes(X), Marginals.from_codes(y)
        return cls(*marginals, products, null, samples)

    def __add__(self, other):
        """Sums over the pairs of both."""
        return PairSums(
            self.x + other.x,
            self.y + other.y,
            {name: sums + other.products[name] for name, sums in self.products.items()},
            [a + b for a, b in zip(self.null, other.null, strict=True)],
            _stacked([self.samples, other.samples]),
        )

    def totalled(self, peers):
        """Sums over the pairs of all processes, the same bits in each."""
        return PairSums(
            self.x.totalled(peers),
            self.y.totalled(peers),
            {name: sums.totalled(peers) for name, sums in self.products.items()},
            [sums.totalled(peers) for sums in self.null],
            _stacked(peers.gathered(self.samples)),
        )

    def statistics(self):
        """What the translations of a soft assignment are made of."""
        crosses = {name: sums.cross for name, sums in self.products.items()}
        between = "between" if "between" in crosses else "matching"
        return Statistics(
            x=self.x,
            y=self.y,
            within_x=stored_product(crosses["within_x"]),
            between=stored_product(crosses[between]),
            within_y=stored_product(crosses["within_y"]),
            samples=self.samples,
        )


def _broken(X, y, groups, rng):
    """Sums over re-paired groups, and over nothing where there is only one group."""
    if len(groups) == 0 or (groups == groups[0]).all():
        return Coactivation.of_codes(X[:0], y[:0])
    return Coactivation.of_codes(X, y[repaired_rows(groups, rng)])


def _stacked(samples):
    """Samples of both views of several parts as those of one."""
    return [sparse.vstack(view, "csr") for view in zip(*samples, strict=True)]
