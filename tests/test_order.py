"""The order of a pass: each row once, as mixed as is stated, from any batch on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skxsae import PairedSAE, TopKSAE
from skxsae._distributed import Peers
from skxsae._order import Blocks, Shuffled, ShuffledByBlocks
from skxsae._views import View, batches, fit_normalization, is_streamed, shuffled
from skxsae.datasets import DiskArray


def rows_of(order, first=0):
    """Numbers of the rows of each batch from the `first` on."""
    return [rows[part].numpy() for rows, parts in order.chunks(first) for part in parts]


def by_blocks(n_rows, n_batches, peers, blocks, seed=0):
    rng = np.random.RandomState(seed)
    return ShuffledByBlocks(n_rows, n_batches, rng, peers, blocks)


@st.composite
def passes(draw):
    """Numbers of rows, batches and processes, and blocks."""
    n_processes = draw(st.integers(1, 4))
    n_rows = draw(st.integers(max(2, n_processes), 200))
    n_batches = draw(st.integers(1, n_rows // max(2, n_processes)))
    blocks = Blocks(draw(st.integers(1, 40)), draw(st.integers(1, 90)))
    return n_rows, n_batches, n_processes, blocks


@given(passes(), st.booleans(), st.integers(0, 9))
@settings(deadline=None, max_examples=300)
def test_each_row_is_in_one_batch_of_one_process(drawn, in_full, seed):
    n_rows, n_batches, n_processes, blocks = drawn
    seen, sizes = [], np.zeros(n_batches, dtype=int)
    for rank in range(n_processes):
        peers = Peers(rank, n_processes)
        rng = np.random.RandomState(seed)
        order = (
            Shuffled(n_rows, n_batches, rng, peers)
            if in_full
            else ShuffledByBlocks(n_rows, n_batches, rng, peers, blocks)
        )
        own = rows_of(order)
        assert len(own) == n_batches
        assert min(map(len, own)) >= 1
        seen += own
        sizes += [len(rows) for rows in own]
    assert_array_equal(np.sort(np.concatenate(seen)), np.arange(n_rows))
    assert sizes.max() - sizes.min() <= n_processes


@given(passes(), st.data())
@settings(deadline=None, max_examples=200)
def test_a_pass_goes_on_from_any_batch(drawn, data):
    n_rows, n_batches, n_processes, blocks = drawn
    peers = Peers(data.draw(st.integers(0, n_processes - 1)), n_processes)
    first = data.draw(st.integers(0, n_batches))
    for order in (
        by_blocks(n_rows, n_batches, peers, blocks),
        Shuffled(n_rows, n_batches, np.random.RandomState(0), peers),
    ):
        rest = rows_of(order, first)
        expected = rows_of(order)[first:]
        assert len(rest) == len(expected)
        for one, other in zip(rest, expected, strict=True):
            assert_array_equal(one, other)


def test_no_more_rows_are_held_than_a_chunk_has():
    order = by_blocks(10_000, 100, Peers(), Blocks(16, 1000))
    held = [len(rows) for rows, _ in order.chunks()]
    assert max(held) <= 1000
    assert len(held) == 10


def test_rows_are_read_in_runs_of_whole_blocks():
    order = by_blocks(10_000, 100, Peers(), Blocks(16, 1000))
    for rows, _ in order.chunks():
        rows = rows.numpy()
        assert (np.diff(rows) > 0).all()
        n_runs = 1 + np.count_nonzero(np.diff(rows) > 1)
        assert n_runs <= 1 + len(rows) // 16 + 1


@pytest.mark.parametrize("n_processes", [1, 4])
def test_mixing_is_as_stated_for_rows_in_the_worst_order(n_processes):
    # all rows of a block are equal: the variance of the mean of a batch is at most
    # 1 + batch / blocks times that of a full shuffle
    block, n_blocks, batch, at_once = 8, 512, 64, 32
    values = np.random.default_rng(0).standard_normal(n_blocks).repeat(block)
    n_batches = len(values) // batch
    # each process holds its part of the blocks
    blocks = Blocks(block, block * at_once // n_processes)
    by_block, in_full = [], []
    for seed in range(40):
        parts = [
            rows_of(
                by_blocks(
                    len(values), n_batches, Peers(rank, n_processes), blocks, seed
                )
            )
            for rank in range(n_processes)
        ]
        by_block += [
            values[np.concatenate(rows)].mean() for rows in zip(*parts, strict=True)
        ]
        rng = np.random.RandomState(seed)
        order = Shuffled(len(values), n_batches, rng, Peers())
        in_full += [values[rows].mean() for rows in rows_of(order)]
    ratio = np.var(by_block) / np.var(in_full)
    # 2,560 means: the ratio is known to some 6 %
    assert ratio <= 1.12 * (1 + batch / at_once)
    assert ratio > 1.5  # the bound is of the right size, not far away


def sorted_rows(n_rows=6000, n_features=16):
    """Rows whose largest concept is sorted on disk."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((24, n_features))
    strength = rng.random((n_rows, 24)) * (rng.random((n_rows, 24)) < 0.15)
    strength[:, 0] = np.sort(strength[:, 0])
    return (strength @ directions).astype(np.float32)


def test_what_the_buffer_holds_is_trained_on_as_an_array():
    X = sorted_rows(500)
    sae = TopKSAE(32, 3, max_iter=3, batch_size=64, random_state=0)
    expected = sae.fit(X).components_
    reader = DiskArray(X)
    assert not is_streamed(reader)
    assert_array_equal(sae.fit(reader).components_, expected)


def test_a_streamed_fit_is_as_good_as_one_in_memory():
    X = sorted_rows()
    reader = DiskArray(X, buffer_bytes=X.nbytes // 4)
    assert is_streamed(reader)
    sae = TopKSAE(
        48, 4, max_iter=20, batch_size=128, learning_rate=3e-3, random_state=0
    )
    in_memory = sae.fit(X).score(X)
    streamed = sae.fit(reader).score(reader)
    assert in_memory > 0.8
    assert streamed > in_memory - 0.01


def test_both_views_are_read_in_one_order():
    X = sorted_rows(1000)
    rows = np.arange(1000, dtype=np.float64)[:, None]
    views = [
        View(array, fit_normalization(None, [array]), "cpu", np.dtype(np.float64))
        for array in (DiskArray(rows, buffer_bytes=4000), rows)
    ]
    order = shuffled(views, 25, np.random.RandomState(0))
    assert isinstance(order, ShuffledByBlocks)
    seen = []
    for one, other in batches(views, order):
        assert torch.equal(one, other)
        seen += one.flatten().tolist()
    assert sorted(seen) == list(range(1000))
    reader = DiskArray(X, buffer_bytes=X.nbytes // 3)
    sae = PairedSAE(32, 3, max_iter=2, batch_size=64, random_state=0)
    one, other = (sae.fit(reader, y).loss_curve_ for y in (reader, X))
    assert one == other


@pytest.mark.parametrize("block_rows", [None, 20, 200])
def test_few_blocks_at_a_time_are_warned_of(block_rows):
    X = sorted_rows(2000)
    # a third of the buffer: 333 rows
    reader = DiskArray(X, buffer_bytes=X.nbytes // 2, block_rows=block_rows)
    sae = TopKSAE(32, 3, max_iter=1, batch_size=64, random_state=0)
    if block_rows != 200:
        sae.fit(reader)
        return
    with pytest.warns(UserWarning, match="blocks of 200, and only 333 are shuffled"):
        sae.fit(reader)
