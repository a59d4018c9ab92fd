"""Matching from sums of parts: judged by the matching of all codes in memory."""

import datetime
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skxsae import (
    Coactivation,
    CoactivationMatcher,
    PostHocAlignedSAE,
    TopKSAE,
    _pair_sums,
)
from skxsae._alignment import DistinctRows, fit_from_sums
from skxsae._distributed import ALONE
from skxsae._noise_floor import repaired_rows
from skxsae._pair_sums import PairSums, parts_of
from skxsae._translation import sample_step
from skxsae.datasets import DiskArray


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 60 to 119 pairs, from blocks of 4."""
    monkeypatch.setattr(_pair_sums, "PAIRS_IN_HAND", 60)
    monkeypatch.setattr(_pair_sums, "PAIRS_OF_BLOCK", 4)


def draw_views(n_pairs=500, n_latents=(14, 11), seed=0):
    """Codes of two views that have part of their latents in common."""
    rng = np.random.default_rng(seed)
    shape = n_pairs, max(n_latents)
    common = (rng.random(shape) < 0.2) * rng.exponential(size=shape)
    views = []
    for n in n_latents:
        own = (rng.random((n_pairs, n)) < 0.1) * rng.exponential(size=(n_pairs, n))
        views.append(sparse.csr_array(common[:, :n] + own))
    return views


def cut(views, groups=None, share=slice(0, 500), seed=0):
    """Parts of codes that are in memory, as a matcher takes them."""
    for rows in parts_of(share, np.random.default_rng(seed)):
        codes = [codes[rows] for codes in views]
        yield rows, *codes, None if groups is None else groups[rows]


def fit_parts(matcher, views, groups=None, directions=None):
    shape = [codes.shape[1] for codes in views]
    matcher._fit_parts(cut(views, groups), 500, shape, ALONE, directions)
    return matcher


# parts


@settings(deadline=None)
@given(st.integers(0, 700), st.integers(0, 90), st.sampled_from([None, 7, 50]))
def test_every_pair_of_a_share_is_in_one_part(n_pairs, start, block_rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pair_sums, "PAIRS_IN_HAND", 60)
        patch.setattr(_pair_sums, "PAIRS_OF_BLOCK", 4)
        share = slice(start, start + n_pairs)
        parts = list(parts_of(share, np.random.default_rng(0), block_rows))
    assert_array_equal(np.sort(np.concatenate(parts)), np.arange(start, share.stop))
    size = min(block_rows or 4, 30)
    for rows in parts:
        assert (np.diff(rows) > 0).all()
        # whole blocks, of which all but the last of the share are full
        first = rows[(rows - start) % size == 0]
        assert len(rows) > size * (len(first) - 1)
        assert len(rows) < 2 * 60
        assert len(first) >= 2 or len(parts) == 1


def test_parts_come_from_all_over_the_share(small_parts):
    parts = list(parts_of(slice(0, 4000), np.random.default_rng(0)))
    assert len(parts) == 66
    assert all(rows[-1] - rows[0] > 2000 for rows in parts)
    (rows,) = parts_of(slice(0, 116), np.random.default_rng(0))
    assert_array_equal(rows, np.arange(116))


# sums


@pytest.mark.parametrize("metric", ["correlation", "jaccard", "decoder_cosine"])
def test_sums_of_the_parts_are_those_of_the_whole(metric, small_parts):
    # of whole numbers, so that no order of the addition rounds
    x, y = (codes.ceil() for codes in draw_views())
    matcher = CoactivationMatcher(metric=metric, assignment="soft")

    total, n_parts = PairSums(matcher, 14, 11, n_null=0), 0
    for rows, *codes, _ in cut([x, y]):
        total.add(*codes, np.arange(len(rows)), rows % 3 == 0, None)
        n_parts += 1
    assert n_parts > 3
    dense = {"x": x.toarray(), "y": y.toarray()}
    for view, marginals in (("x", total.x), ("y", total.y)):
        assert marginals.n_samples == 500
        assert_array_equal(marginals.fires, (dense[view] > 0).sum(axis=0))
        assert_array_equal(marginals.square, np.square(dense[view]).sum(axis=0))
    names = {"within_x": "xx", "within_y": "yy"}
    names["matching" if metric == "correlation" else "between"] = "xy"
    for name, (a, b) in names.items():
        assert_array_equal(total.products[name].entries, dense[a].T @ dense[b])
    if metric == "jaccard":
        together = (dense["x"] > 0).T.astype(int) @ (dense["y"] > 0)
        assert_array_equal(total.products["matching"].entries, together)
    for sample, codes in zip(total.statistics().samples, (x, y), strict=True):
        rows = [part[0][part[0] % 3 == 0] for part in cut([x, y])]
        assert_array_equal(sample.toarray(), codes[np.concatenate(rows)].toarray())


# the fitted matcher


@pytest.mark.parametrize(
    "metric",
    ["correlation", "absolute_correlation", "cosine", "jaccard", "decoder_cosine"],
)
@pytest.mark.parametrize(
    "assignment", ["hungarian", "greedy", "mutual_nearest", "soft"]
)
def test_parts_are_matched_like_the_whole(metric, assignment, small_parts):
    x, y = draw_views()
    matcher = CoactivationMatcher(
        metric=metric, assignment=assignment, random_state=0, min_score=0.05
    )
    directions = None
    if metric == "decoder_cosine":
        rng = np.random.default_rng(1)
        directions = [rng.normal(size=(codes.shape[1], 6)) for codes in (x, y)]
    streamed = fit_parts(clone(matcher), [x, y], directions=directions)
    whole = matcher.fit(x, y, directions=directions)
    assert_array_equal(streamed.matching_, whole.matching_)
    assert_array_equal(streamed.unmatched_, whole.unmatched_)
    assert_array_equal(streamed.mutual_, whole.mutual_)
    assert streamed.n_features_in_ == 14
    for name in ("scores_", "margins_"):
        assert_allclose(getattr(streamed, name), getattr(whole, name), atol=1e-12)
    assert streamed.n_null_ == whole.n_null_ == 10 * (metric != "decoder_cosine")
    for ours, theirs in zip(
        (streamed.transform(x), streamed.transform_reference(y)),
        (whole.transform(x), whole.transform_reference(y)),
        strict=True,
    ):
        assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-9)


@pytest.mark.parametrize(("rank", "dense_ratio"), [(3, 0), (256, 4)])
def test_translations_of_parts_are_those_of_the_whole(
    rank, dense_ratio, small_parts, monkeypatch
):
    monkeypatch.setattr("skxsae._translation.DENSE_RATIO", dense_ratio)
    views = draw_views()
    matcher = CoactivationMatcher(
        assignment="soft", rank=rank, n_null=0, random_state=0
    )
    streamed, whole = fit_parts(clone(matcher), views), matcher.fit(*views)
    for name in ("translation_", "reference_translation_"):
        ours, theirs = getattr(streamed, name), getattr(whole, name)
        assert ours.n_active == theirs.n_active
        assert ours.weight == pytest.approx(theirs.weight, rel=1e-9)
        products = [part.source @ part.target.T for part in (ours, theirs)]
        assert_allclose(*products, atol=1e-9)


def test_translations_are_measured_on_the_same_sample(monkeypatch, small_parts):
    monkeypatch.setattr("skxsae._translation._SAMPLE", 40)
    views = draw_views()
    matcher = CoactivationMatcher(assignment="soft", n_null=0, random_state=0)
    streamed, whole = fit_parts(clone(matcher), views), matcher.fit(*views)
    assert sample_step(500) == 13
    expected = whole.translation_.weight
    assert streamed.translation_.weight == pytest.approx(expected, rel=1e-9)


# the null


def test_the_null_of_one_part_is_that_of_memory():
    views = draw_views()
    matcher = CoactivationMatcher(random_state=0, n_null=3)
    streamed, whole = fit_parts(clone(matcher), views), matcher.fit(*views)
    assert_allclose(streamed.null_scores_, whole.null_scores_, atol=1e-12)
    assert_allclose(streamed.noise_floor_, whole.noise_floor_, atol=1e-12)
    assert_allclose(streamed.false_match_share_, whole.false_match_share_, atol=1e-12)


@pytest.mark.parametrize("metric", ["correlation", "jaccard"])
def test_the_null_differs_by_its_draws_only(metric, small_parts, monkeypatch):
    drawn = []

    def remember(groups, rng):
        drawn.append(repaired_rows(groups, rng))
        return drawn[-1]

    monkeypatch.setattr(_pair_sums, "repaired_rows", remember)
    x, y = draw_views()
    matcher = CoactivationMatcher(metric=metric, random_state=0, n_null=2)
    streamed = fit_parts(clone(matcher), [x, y])
    partner = np.empty((2, 500), dtype=int)
    parts = [part[0] for part in cut([x, y])]
    assert len(parts) > 3
    for number, rows in enumerate(parts):
        for null in range(2):
            partner[null, rows] = rows[drawn[2 * number + null]]
    for met in partner:
        assert_array_equal(np.sort(met), np.arange(500))
        assert (met != np.arange(500)).all()
    if metric == "jaccard":
        x, y = ((codes > 0).astype(float) for codes in (x, y))
    sums, *null = (
        Coactivation.from_codes(x, y[rows]) for rows in (np.arange(500), *partner)
    )
    expected = matcher.fit_coactivation(sums, null)
    assert_allclose(streamed.null_scores_, expected.null_scores_, atol=1e-12)
    assert streamed.share_without_partner_ == pytest.approx(
        expected.share_without_partner_
    )


def test_whole_groups_are_re_paired_within_a_part(small_parts, monkeypatch):
    drawn = []

    def remember(groups, rng):
        rows = repaired_rows(groups, rng)
        drawn.append((groups, rows))
        return rows

    monkeypatch.setattr(_pair_sums, "repaired_rows", remember)
    groups = np.arange(500) // 5  # which blocks of 4 cut
    fit_parts(CoactivationMatcher(n_null=1), draw_views(), groups)
    assert len(drawn) > 3
    for own, rows in drawn:
        assert (own != own[rows]).all()


def test_a_part_of_one_group_has_no_null(small_parts):
    views, groups = draw_views(), np.zeros(500, dtype=int)
    streamed = fit_parts(CoactivationMatcher(), views, groups)
    assert streamed.n_null_ == 0
    assert np.isnan(streamed.noise_floor_)
    groups[:4] = 1  # one block
    streamed = fit_parts(CoactivationMatcher(n_null=1), views, groups)
    assert streamed.n_null_ == 1


def test_neighbours_that_are_alike_do_not_raise_the_null(small_parts):
    # a topic that 50 neighbours share makes some latents likelier
    rng = np.random.default_rng(0)
    n_pairs = 6000
    topic = np.repeat(rng.random((n_pairs // 50, 20)) < 0.2, 50, axis=0)
    x, y = (
        sparse.csr_array((rng.random(topic.shape) < 0.05 + 0.5 * topic).astype(float))
        for _ in range(2)
    )

    def excess(sums):
        """How much oftener the same topic meets than by chance."""
        by_chance = sums.x.total * sums.y.total / n_pairs
        together = sums.cross.pairs(*np.tile(np.arange(20), (2, 1)))
        return (together - by_chance).mean()

    def left(parts):
        """Share of the excess of true pairs that the null of some parts still has."""
        matcher, rng = CoactivationMatcher(), np.random.RandomState(0)
        sums = PairSums(matcher, 20, 20, n_null=1)
        for r in parts:
            sums.add(x[r], y[r], np.arange(len(r)), r < 0, rng)
        (null,) = sums.null()
        return excess(null) / excess(sums.products["matching"].sums)

    assert abs(left([np.arange(n_pairs)])) < 0.05
    # 3 of the 59 others of a part are of its own block
    assert abs(left(parts_of(slice(0, n_pairs), np.random.default_rng(0)))) < 0.1
    assert left(np.arange(n_pairs).reshape(-1, 60)) > 0.6


def test_what_needs_a_finite_code_says_so(small_parts):
    x, y = draw_views()
    y.data[7] = np.inf
    with pytest.raises(ValueError, match="y contains infinity"):
        fit_parts(CoactivationMatcher(), [x, y])


def test_nothing_to_match_is_told(small_parts):
    x, y = draw_views()
    with pytest.warns(UserWarning, match="Nothing is matched: no latent of y"):
        streamed = fit_parts(CoactivationMatcher(n_null=0), [x, 0 * y])
    assert (streamed.matching_ == -1).all()


# memory


class EndlessRows:
    """Rows that are drawn when they are read, as many as are asked for."""

    dtype, ndim = np.dtype(np.float32), 2

    def __init__(self, n_rows):
        self.shape = n_rows, 8

    def __getitem__(self, rows):
        numbers = np.arange(*rows.indices(self.shape[0]))[:, None]
        return np.sin(numbers * (1 + np.arange(8)) ** 0.5).astype(np.float32)


def made_up_sae(n_latents=40, k=6):
    """A model of 8 features that was fitted to next to nothing."""
    X = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    return TopKSAE(n_latents, k, max_iter=1, random_state=0, device="cpu").fit(X)


def endless_pairs(n_pairs):
    return [
        DistinctRows(DiskArray(EndlessRows(n_pairs), buffer_bytes=2**16), None)
        for _ in range(2)
    ]


@pytest.mark.parametrize("assignment", ["hungarian", "soft"])
def test_four_times_the_pairs_take_no_more_memory(assignment, monkeypatch):
    monkeypatch.setattr(_pair_sums, "PAIRS_IN_HAND", 2**11)
    monkeypatch.setattr(_pair_sums, "PAIRS_OF_BLOCK", 2**8)
    sae, peaks = made_up_sae(), []
    for n_pairs in (4_000, 16_000, 64_000):  # the first warms up
        matcher = CoactivationMatcher(assignment=assignment, random_state=0)
        tracemalloc.start()
        fit_from_sums(matcher, (sae, sae), endless_pairs(n_pairs), None, None, "cpu", 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert_array_equal(matcher.matching_, np.arange(40))
    assert peaks[2] < 1.2 * peaks[1]


WITHIN_A_LIMIT = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from skxsae import CoactivationMatcher, _pair_sums
from test_pair_sums import endless_pairs, fit_from_sums, made_up_sae

_pair_sums.PAIRS_IN_HAND = 2**12
sae = made_up_sae()
matcher = CoactivationMatcher(random_state=0, n_null=1)

def from_sums(views):
    fit_from_sums(matcher, (sae, sae), views, None, None, "cpu", 0)

def in_memory(views):
    matcher.fit(*(view.codes(sae, "cpu") for view in views))

for way in (from_sums, in_memory):
    way(endless_pairs(10_000))  # loads what is loaded late
held = next(
    int(line.split()[1]) * 1024
    for line in Path("/proc/self/status").read_text().splitlines()
    if line.startswith("VmData")
)
resource.setrlimit(resource.RLIMIT_DATA, (held + 2**25, -1))
from_sums(endless_pairs(400_000))
print("from sums", matcher.scores_.min() > 0.999)
try:
    in_memory(endless_pairs(400_000))
except (MemoryError, RuntimeError):
    print("not in memory")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits memory")
def test_pairs_whose_codes_exceed_a_limit_of_memory():
    script = WITHIN_A_LIMIT.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-W", "ignore", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.stdout.split("\n")[:2] == ["from sums True", "not in memory"], (
        ended.stderr
    )


# processes


def fit_in_process(rank, size, folder):
    """Fit matchers as one of several processes, and leave them in the folder."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=size,
        timeout=datetime.timedelta(seconds=60),
    )
    X, y, groups, x_sae, y_sae, matchers = pickle.loads(
        Path(folder, "given").read_bytes()
    )
    fitted = []
    for matcher in matchers:
        sae = PostHocAlignedSAE(
            x_sae=x_sae, y_sae=y_sae, matcher=matcher, random_state=0, device="cpu"
        )
        fitted.append(vars(sae.fit(X, y, groups=groups).matcher_))
    Path(folder, f"fitted{rank}").write_bytes(pickle.dumps(fitted))
    torch.distributed.destroy_process_group()


MATCHERS = [
    CoactivationMatcher(n_null=1, min_fires=100),
    CoactivationMatcher(assignment="soft", metric="jaccard", n_null=1),
    CoactivationMatcher(assignment="soft", metric="decoder_cosine"),
]


@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no distributed"
)
@pytest.mark.slow
def test_processes_match_like_one(tmp_path):
    n_processes = 3  # which share 1,000 pairs unevenly, and cut a group
    groups = np.arange(1000) // 5
    rng = np.random.default_rng(0)
    # float64, so that the codes hardly depend on how rows are cut into blocks
    X = (draw_views(200, (24, 1))[0] @ rng.normal(size=(24, 16)))[groups]
    y = X[:, ::-1] + 0.1 * rng.normal(size=X.shape)
    saes = [
        FrozenEstimator(TopKSAE(24, 3, max_iter=20, random_state=seed).fit(Z))
        for seed, Z in enumerate((X, y))
    ]
    given = pickle.dumps((X, y, groups, *saes, MATCHERS))
    Path(tmp_path, "given").write_bytes(given)
    torch.multiprocessing.spawn(
        fit_in_process, (n_processes, str(tmp_path)), n_processes
    )
    of_processes = [
        pickle.loads(Path(tmp_path, f"fitted{rank}").read_bytes())
        for rank in range(n_processes)
    ]
    for number, matcher in enumerate(MATCHERS):
        first, *others = (pickle.dumps(fitted[number]) for fitted in of_processes)
        assert all(other == first for other in others)
        alone = PostHocAlignedSAE(
            x_sae=saes[0], y_sae=saes[1], matcher=matcher, random_state=0
        )
        expected = alone.fit(X, y, groups=groups).matcher_
        together = clone(matcher)
        together.__dict__.update(of_processes[0][number])
        assert_array_equal(together.matching_, expected.matching_)
        assert_allclose(together.scores_, expected.scores_, atol=1e-12)
        if number == 0:  # who counts pairs twice matches more
            assert (expected.matching_ == -1).any()
        assert together.n_null_ == expected.n_null_
        if matcher.assignment == "soft":
            codes = alone.y_sae_.transform(y)[:, -24:]
            assert_allclose(
                together.transform(codes).toarray(),
                expected.transform(codes).toarray(),
                atol=1e-9,
            )
