"""In what order a pass takes the rows: in full at random, or block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from skxsae._distributed import Peers

# a batch is drawn from at least so many blocks at random places
_BLOCKS_AT_ONCE = 1024

Chunk = tuple[torch.Tensor, list[torch.Tensor | slice]]


class Shuffled:
    """Every order of the rows is as likely as any other.

    A batch is cut into consecutive shares of all processes.
    """

    def __init__(
        self, n_rows: int, n_batches: int, rng: np.random.RandomState, peers: Peers
    ):
        self.rows = torch.from_numpy(rng.permutation(n_rows))
        self.n_batches, self.peers = n_batches, peers

    def chunks(self, first: int = 0) -> Iterator[Chunk]:
        """Rows that are read at once, and where the batches among them are."""
        for batch in self.rows.tensor_split(self.n_batches)[first:]:
            yield batch[self.peers.share(len(batch))], [slice(None)]

    def lengths(self, batch: int) -> list[int]:
        """How many rows of a batch each process has."""
        n_rows, n_longer = divmod(len(self.rows), self.n_batches)
        return self.peers.shares(n_rows + (batch < n_longer))


@dataclass(frozen=True)
class Blocks:
    """What is read in one piece, and how many rows are held at a time."""

    block_rows: int
    chunk_rows: int

    @classmethod
    def of(cls, block_rows: int | None, chunk_rows: int) -> "Blocks":
        """Blocks of a given size, or as many as a chunk needs to be well mixed."""
        fitting = max(1, chunk_rows // _BLOCKS_AT_ONCE)
        return cls(block_rows or fitting, max(chunk_rows, 1))


class ShuffledByBlocks:
    """Blocks of consecutive rows in random order, mixed as far as memory allows.

    A chunk holds blocks from random places, and within it every order of the rows is
    as likely as any other. Each process has its own blocks.
    """

    def __init__(
        self,
        n_rows: int,
        n_batches: int,
        rng: np.random.RandomState,
        peers: Peers,
        blocks: Blocks,
    ):
        self.block_rows = blocks.block_rows
        self.blocks = rng.permutation(-(-n_rows // self.block_rows))
        self.missing = len(self.blocks) * self.block_rows - n_rows
        self.seed = rng.randint(2**31 - 1)
        self.rank = peers.rank
        own = peers.share(n_rows)
        self.shares, self.n_batches = peers.shares(n_rows), n_batches
        self.edges = own.start + self._edge(np.arange(n_batches + 1), peers.rank)
        self.chunk_rows = blocks.chunk_rows

    def _edge(self, batch, rank: int):
        """How many rows of a process come before a batch."""
        return self.shares[rank] * batch // self.n_batches

    def lengths(self, batch: int) -> list[int]:
        """How many rows of a batch each process has."""
        ranks = range(len(self.shares))
        return [self._edge(batch + 1, rank) - self._edge(batch, rank) for rank in ranks]

    def chunks(self, first: int = 0) -> Iterator[Chunk]:
        """Rows that are read at once, and where the batches among them are."""
        begin, number, last = 0, 0, len(self.edges) - 1
        while begin < last:
            most = self.edges[begin] + self.chunk_rows
            end = int(np.searchsorted(self.edges, most, side="right")) - 1
            end = min(max(end, begin + 1), last)
            if end > first:
                yield self._chunk(number, begin, end, max(first, begin))
            begin, number = end, number + 1

    def _chunk(self, number: int, begin: int, end: int, first: int) -> Chunk:
        """The batches from `first` on of those from `begin` to `end`."""
        rows = self._rows(np.arange(self.edges[begin], self.edges[end]))
        rng = np.random.default_rng((self.seed, self.rank, number))
        order = torch.from_numpy(rng.permutation(len(rows)))
        edges = (self.edges[begin : end + 1] - self.edges[begin]).tolist()
        batches: list = [order[a:b] for a, b in pairwise(edges)]
        return torch.from_numpy(rows), batches[first - begin :]

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        """Rows at some places of the blocks that follow one another, sorted."""
        size = self.block_rows
        # the last block of all may lack rows, wherever it comes
        short = int(np.argmax(self.blocks))
        behind = positions >= (short + 1) * size - self.missing
        places = positions + self.missing * behind
        return np.sort(self.blocks[places // size] * size + places % size)


Order = Shuffled | ShuffledByBlocks
