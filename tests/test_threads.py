"""One fitted estimator in several threads, and fits beside each other."""

import copy
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fitted_estimators import assert_same
from scipy.io import wavfile
from sklearn.base import clone

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae._quiet import quiet
from skxsae.baselines import SparseBaseline
from skxsae.datasets import DiskArray
from skxsae.embedding._audio import decode_audio, read_audio
from skxsae.embedding._entries import Unreadable
from skxsae.interventions import ModalityFilter, ModalityGapRemover
from skxsae.search import ConceptIndex

N_THREADS = 8
RNG = np.random.default_rng(0)
X = RNG.standard_normal((400, 16)).astype(np.float32)
Y = X @ RNG.standard_normal((16, 16)).astype(np.float32)
SIZES = {"max_iter": 2, "batch_size": 64, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")


@pytest.fixture(autouse=True)
def _switch_often():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def saes():
    """Autoencoders of one view with all ways to encode."""
    yield from (
        TopKSAE(64, 4, activation=activation, **SIZES)
        for activation in ("topk", "batch_topk", "relu", "jumprelu", "matching_pursuit")
    )
    yield from (
        TopKSAE(64, 4, transform_algorithm=algorithm, **SIZES)
        for algorithm in ("encoder", "mp", "omp")
    )
    yield from (
        TopKSAE(64, 4, precision=precision, **SIZES)
        for precision in ("screen", "bf16", "int8")
    )
    yield TopKSAE(64, 4, normalize="center_l2", sparse_output=False, **SIZES)
    yield SparseBaseline("pca", 16, 4, random_state=0)


def pairs():
    """Estimators of two views."""
    yield from (
        PairedSAE(64, 4, coupling=coupling, **SIZES)
        for coupling in ("shared", "cross_reconstruction", "global_topk", "crosscoder")
    )
    sae = TopKSAE(64, 4, **SIZES)
    for assignment in ("hungarian", "soft"):
        matcher = CoactivationMatcher(assignment=assignment, n_null=1)
        yield PostHocAlignedSAE(x_sae=sae, y_sae=sae, matcher=matcher, random_state=0)
    yield ModalityGapRemover("shift")


def of_codes():
    """Estimators that take codes."""
    yield CoactivationMatcher(n_null=1, random_state=0)
    yield CoactivationMatcher(assignment="soft", n_null=1, random_state=0)
    yield ModalityFilter()


CODES = [TopKSAE(64, 4, **SIZES).fit_transform(view) for view in (X, Y)]
KINDS = [
    *((sae, (X,)) for sae in saes()),
    *((pair, (X, Y)) for pair in pairs()),
    *((each, CODES) for each in of_codes()),
    (ConceptIndex(3), CODES[:1]),
]


def calls(estimator, views):
    """Functions of a fitted estimator and the arguments of each, on parts of views."""
    for start in range(0, 400, 50):
        parts = [view[start : start + 50] for view in views]
        if hasattr(estimator, "search"):
            yield estimator.search, parts
            continue
        if isinstance(estimator, CoactivationMatcher | ModalityFilter):
            parts = parts[:1]
        yield estimator.transform, parts
        if hasattr(estimator, "score"):
            yield estimator.score, parts
        if hasattr(estimator, "inverse_transform"):
            codes = estimator.transform(*parts)
            yield (
                estimator.inverse_transform,
                codes if isinstance(codes, tuple) else [codes],
            )


def run_in_threads(tasks):
    """Results of tasks that begin at the same time, as far as there are threads."""
    barrier = threading.Barrier(N_THREADS)

    def run(number):
        if number < N_THREADS <= len(tasks):
            barrier.wait(60)
        function, arguments = tasks[number]
        return function(*arguments)

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(run, range(len(tasks))))


@pytest.mark.parametrize(
    ("estimator", "views"), KINDS, ids=[repr(estimator)[:60] for estimator, _ in KINDS]
)
def test_calls_beside_each_other(estimator, views):
    estimator = clone(estimator).fit(*views)
    tasks = list(calls(estimator, views))
    alone = [function(*arguments) for function, arguments in tasks]
    for _ in range(2):
        together = run_in_threads(tasks)
        for one, other in zip(alone, together, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize(
    "estimator", [KINDS[0][0], *pairs()], ids=lambda estimator: repr(estimator)[:60]
)
def test_copies_are_made_meanwhile(estimator):
    estimator = clone(estimator).fit(X, Y)
    encode = estimator.transform
    views = (X,) if isinstance(estimator, TopKSAE) else (X, Y)
    expected = encode(*views)
    copying = [
        lambda: pickle.loads(pickle.dumps(estimator)),
        lambda: copy.deepcopy(estimator),
        lambda: clone(estimator).fit(X, Y),
    ]
    tasks = [(encode, views), *((make, ()) for make in copying)] * 4
    for found in run_in_threads(tasks):
        if hasattr(found, "transform"):
            found = found.transform(*views)
        assert_same(expected, found)


def test_fits_beside_each_other():
    estimators = [(estimator, views) for estimator, views in KINDS for _ in range(2)]
    estimators.append((SparseBaseline("dictionary", 8, 2, max_iter=2), (X,)))
    estimators = [
        (estimator.set_params(random_state=0), views)
        if "random_state" in estimator.get_params()
        else (estimator, views)
        for estimator, views in estimators
    ]
    filters = list(warnings.filters)
    alone = [clone(estimator).fit(*views) for estimator, views in estimators]
    tasks = [(clone(estimator).fit, views) for estimator, views in estimators]
    together = run_in_threads(tasks)
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)
    assert warnings.filters == filters


def test_streams_beside_each_other():
    alone = TopKSAE(64, 4, batch_size=64, random_state=0)
    for start in range(0, 400, 30):
        alone.partial_fit(X[start : start + 30])

    def stream():
        sae = TopKSAE(64, 4, batch_size=64, random_state=0)
        for start in range(0, 400, 30):
            sae.partial_fit(X[start : start + 30])
        return sae

    for found in run_in_threads([(stream, ())] * N_THREADS):
        np.testing.assert_array_equal(found.components_, alone.components_)


@pytest.mark.parametrize("name", ["x.npy", "x.parquet"])
def test_reads_of_one_array_on_disk(tmp_path, name):
    if name == "x.npy":
        np.save(tmp_path / name, X)
    else:
        pa, parquet = (
            pytest.importorskip(f"pyarrow{part}") for part in ("", ".parquet")
        )
        table = pa.table({"x": list(X)})
        # the last group that was read is kept for all threads
        parquet.write_table(table, tmp_path / name, row_group_size=30)
    array = DiskArray(tmp_path / name, buffer_bytes=2**14)
    rng = np.random.default_rng(0)
    keys = [rng.integers(400, size=50) for _ in range(64)]
    for key, rows in zip(
        keys, run_in_threads([(array.__getitem__, (key,)) for key in keys]), strict=True
    ):
        np.testing.assert_array_equal(rows, X[key])


def test_filters_of_warnings_are_left_as_they_were():
    filters = list(warnings.filters)

    def ignore():
        with quiet("of no use"):
            warnings.warn("of no use", UserWarning, stacklevel=1)

    for _ in range(20):
        run_in_threads([(ignore, ())] * 2 * N_THREADS)
    assert warnings.filters == filters


def test_sounds_that_are_cut_off_are_refused_in_every_thread(tmp_path):
    path = tmp_path / "sound.wav"
    wavfile.write(path, 48_000, np.zeros(4800, dtype=np.int16))
    content = read_audio(path)[1]
    cut = content[:5000]

    def decode(content):
        try:
            return len(decode_audio(content, 48_000, 480_000))
        except Unreadable:
            return None

    filters = list(warnings.filters)
    found = run_in_threads([(decode, (each,)) for each in [content, cut] * 40])
    assert found == [4800, None] * 40
    assert warnings.filters == filters
