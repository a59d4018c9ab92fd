"""TopKSAE: codes, reconstruction, score and recovery of a planted dictionary."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import nnls
from sklearn.utils._param_validation import InvalidParameterError

from skxsae import PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae._encoding import Encoder
from skxsae._trainer import Trainer
from skxsae._views import NORMALIZATIONS
from skxsae.datasets import make_paired_features


def make_rows(n_rows=300, n_features=8, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n_rows, n_features)) + 1).astype(dtype)


def fit_small(X, **params):
    defaults = {"n_latents": 24, "k": 3, "max_iter": 5, "random_state": 0}
    return TopKSAE(**{**defaults, **params}).fit(X)


def normalised(sae, X):
    rows = (X - sae.offset_) / sae.scale_
    if sae.normalize in ("l2", "center_l2"):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def reference_codes(sae, X):
    """Codes in plain NumPy."""
    pre = (normalised(sae, X) - sae.mean_) @ sae.encoder_.T + sae.encoder_bias_
    if sae.activation in ("batch_topk", "jumprelu"):
        return np.where((pre > sae.threshold_) & (pre > 0), pre, 0)
    if sae.activation == "relu":
        return np.maximum(pre, 0)
    codes = np.zeros_like(pre)
    for row, values in enumerate(pre):
        best = np.argsort(-values)[: sae.k_]
        codes[row, best] = np.maximum(values[best], 0)
    return codes


@pytest.mark.parametrize("activation", ["topk", "batch_topk", "relu", "jumprelu"])
@pytest.mark.parametrize("normalize", [*sorted(NORMALIZATIONS), None])
def test_codes_equal_plain_numpy(activation, normalize):
    X = make_rows()
    sae = fit_small(X, activation=activation, normalize=normalize)
    codes = sae.transform(X[:50])
    assert_allclose(codes.toarray(), reference_codes(sae, X[:50]), atol=1e-12)


def test_at_most_k_positive_codes_and_a_canonical_csr():
    X = make_rows(dtype=np.float32)
    codes = fit_small(X).transform(X)
    assert codes.dtype == np.float32
    assert codes.has_canonical_format
    assert codes.data.min() > 0
    assert np.diff(codes.indptr).max() <= 3
    codes.check_format(full_check=True)


def test_batch_topk_has_k_active_latents_on_average():
    X = make_rows(n_rows=1000)
    sae = fit_small(
        X, activation="batch_topk", max_iter=30, batch_size=50, learning_rate=5e-3
    )
    counts = np.diff(sae.transform(X).indptr)
    assert counts.mean() == pytest.approx(3, rel=0.1)
    assert counts.min() < 3 < counts.max()


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_a_code_does_not_depend_on_its_neighbours(activation):
    X = make_rows(n_rows=40)
    sae = fit_small(X, activation=activation, batch_size=16)
    alone = sparse.vstack([sae.transform(row[None]) for row in X])
    assert_allclose(sae.transform(X).toarray(), alone.toarray(), rtol=1e-9)


def test_blocks_do_not_change_codes(monkeypatch):
    X = make_rows()
    sae = fit_small(X)
    whole, score = sae.transform(X).toarray(), sae.score(X)
    monkeypatch.setattr("skxsae._views._BLOCK_ENTRIES", 24 * 7)
    assert_allclose(sae.transform(X).toarray(), whole, rtol=1e-9)
    assert sae.score(X) == pytest.approx(score)


def test_dense_output_equals_sparse_output():
    X = make_rows()
    sae = fit_small(X)
    codes = sae.transform(X).toarray()
    assert_array_equal(sae.set_params(sparse_output=False).transform(X), codes)


@pytest.mark.parametrize("normalize", ["scale", "center", "standard", None])
def test_score_is_explained_variance_in_normalised_space(normalize):
    X = make_rows()
    sae = fit_small(X, normalize=normalize)
    rebuilt = sae.inverse_transform(sae.transform(X))
    rows, rebuilt = normalised(sae, X), normalised(sae, rebuilt)
    expected = 1 - ((rows - rebuilt) ** 2).sum() / ((rows - rows.mean(0)) ** 2).sum()
    assert sae.score(X) == pytest.approx(expected)


def test_inverse_transform_takes_dense_and_sparse_codes():
    X = make_rows()
    sae = fit_small(X)
    codes = sae.transform(X)
    expected = (codes.toarray() @ sae.components_ + sae.mean_) * sae.scale_
    assert_allclose(sae.inverse_transform(codes), expected + sae.offset_)
    assert_allclose(sae.inverse_transform(codes.toarray()), expected + sae.offset_)
    with pytest.raises(ValueError, match=r"Z has 5 columns.* 24 latents"):
        sae.inverse_transform(np.ones((2, 5)))


def test_fitted_attributes():
    X = make_rows(dtype=np.float32)
    sae = fit_small(X)
    assert_allclose(np.linalg.norm(sae.components_, axis=1), 1, rtol=1e-5)
    shapes = {
        "components_": (24, 8),
        "encoder_": (24, 8),
        "encoder_bias_": (24,),
        "mean_": (8,),
        "offset_": (8,),
        "scale_": (),
        "firing_rate_": (24,),
        "dead_latents_": (24,),
    }
    assert {name: getattr(sae, name).shape for name in shapes} == shapes
    assert sae.components_.dtype == np.float32
    assert len(sae.loss_curve_) == sae.n_iter_ == 5
    assert_array_equal(sae.dead_latents_, sae.firing_rate_ == 0)
    assert not hasattr(sae, "threshold_")
    assert 0 < sae.reconstruction_err_ < 1


@pytest.mark.parametrize("changed", [{"normalize": "l2"}, {"activation": "batch_topk"}])
def test_parameters_changed_after_the_fit_do_not_change_codes(changed):
    X = make_rows()
    sae = fit_small(X)
    before, score = sae.transform(X).toarray(), sae.score(X)
    sae.set_params(**changed)
    assert_array_equal(sae.transform(X).toarray(), before)
    assert sae.score(X) == score


def pursuit(rows, atoms, k, orthogonal):
    """Non-negative (orthogonal) matching pursuit of each row, as it is written."""
    codes = np.zeros((len(rows), len(atoms)))
    for row, code in zip(rows, codes, strict=True):
        for _ in range(k):
            correlations = atoms @ (row - code @ atoms)
            best = correlations.argmax()
            if correlations[best] <= 1e-12:
                break
            code[best] += correlations[best]
            if orthogonal:
                support = np.flatnonzero(code)
                code[support] = nnls(atoms[support].T, row)[0]
    return codes


@pytest.mark.parametrize("algorithm", ["mp", "omp"])
@pytest.mark.parametrize("activation", ["topk", "matching_pursuit"])
def test_pursuit_at_transform(activation, algorithm):
    X = make_rows()
    sae = fit_small(X, activation=activation, transform_algorithm=algorithm)
    codes = sae.transform(X[:60])
    rows = normalised(sae, X[:60]) - sae.mean_
    expected = pursuit(rows, sae.components_, 3, algorithm == "omp")
    assert_allclose(codes.toarray(), expected, atol=1e-9)
    by_encoder = fit_small(X, activation="topk")
    if activation == "topk":
        assert sae.score(X) > by_encoder.score(X) + 0.05
        assert_array_equal(sae.components_, by_encoder.components_)


def test_matching_pursuit_is_what_it_was_trained_with():
    X = make_rows()
    sae = fit_small(X, activation="matching_pursuit", max_iter=20)
    assert_array_equal(sae.encoder_, sae.components_)
    default = sae.transform(X).toarray()
    assert_array_equal(
        default, sae.set_params(transform_algorithm="mp").transform(X).toarray()
    )
    tied = sae.set_params(transform_algorithm="encoder").transform(X)
    assert_allclose(tied.toarray(), reference_codes(sae, X), atol=1e-12)


def test_signed_matching_pursuit():
    X = make_rows()
    sae = fit_small(X, activation="matching_pursuit", positive_code=False)
    codes = sae.transform(X)
    assert (codes.data < 0).any()
    assert np.diff(codes.indptr).max() <= 3
    positive = fit_small(X, activation="matching_pursuit").transform(X)
    assert (positive.data > 0).all()


@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
@pytest.mark.parametrize("precision", ["screen", "bf16", "int8", "tf32"])
def test_precision_changes_nothing_but_the_speed(precision, activation):
    X = make_rows(dtype=np.float32)
    params = {"activation": activation, "n_latents": 256, "max_iter": 3}
    exact, fast = (fit_small(X, precision=p, **params) for p in ("float32", precision))
    assert fast.score(X) == pytest.approx(exact.score(X), abs=0.01)
    if precision in ("screen", "tf32"):
        assert_allclose(fast.components_, exact.components_, atol=1e-3)
    codes = fast.transform(X).toarray()
    again = fast.set_params(precision="float32").transform(X).toarray()
    if precision in ("screen", "tf32"):
        assert_allclose(codes, again, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "jumprelu"])
def test_l0_is_steered_to_k_on_held_out_samples(activation):
    data = make_paired_features(
        6000,
        n_features=32,
        n_shared=48,
        n_x_only=0,
        n_y_only=0,
        max_interference=0.7,
        random_state=0,
    )
    sae = fit_small(
        data.X[:4000], n_latents=96, k=8, activation=activation, max_iter=30
    )
    codes = sae.transform(data.X[4000:])
    assert codes.nnz / 2000 == pytest.approx(8, rel=0.05)
    assert sae.score(data.X[4000:]) > 0.3


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "matching_pursuit"])
def test_every_activation_serves_aligned_views(activation):
    data = make_paired_features(
        1000,
        n_features=16,
        n_shared=24,
        n_x_only=0,
        n_y_only=0,
        max_interference=0.75,
        random_state=0,
    )
    one = TopKSAE(48, 3, activation=activation, max_iter=10, batch_size=128)
    sae = PostHocAlignedSAE(x_sae=one, y_sae=one, random_state=0).fit(data.X, data.y)
    codes_x, codes_y = sae.transform(data.X, data.y)
    assert codes_x.shape == codes_y.shape
    own = sae.y_sae_
    assert_allclose(
        own.inverse_transform(codes_y), sae.inverse_transform(codes_x, codes_y)[1]
    )
    present = np.abs(own.components_).sum(1) > 0
    assert codes_y[:, ~present].nnz == 0
    paired = PairedSAE(48, 3, activation=activation, max_iter=10, random_state=0)
    assert paired.fit(data.X, data.y).score(data.X, data.y) > 0


def test_a_device_without_room_halves_the_block(monkeypatch):
    X = make_rows()
    sae = fit_small(X)
    expected, sizes = sae.transform(X).toarray(), []
    plain = Encoder._active

    def crowded(self, rows):
        sizes.append(len(rows))
        if len(rows) > 40:
            raise torch.OutOfMemoryError("no room")
        return plain(self, rows)

    monkeypatch.setattr(Encoder, "_active", crowded)
    assert_allclose(sae.transform(X).toarray(), expected, atol=1e-12)
    assert sizes[:4] == [300, 150, 75, 37]
    assert sum(size for size in sizes if size <= 40) == 300


def test_a_device_without_any_room_says_so(monkeypatch):
    def full(self, rows):
        raise torch.OutOfMemoryError("no room")

    X = make_rows()
    sae = fit_small(X)
    monkeypatch.setattr(Encoder, "_active", full)
    with pytest.raises(torch.OutOfMemoryError):
        sae.transform(X)


def test_without_memory_a_fit_names_batch_size(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Trainer, "step", full)
    with pytest.raises(MemoryError, match="batch_size"):
        fit_small(make_rows())


@pytest.mark.parametrize("batch_size", [2, 3, 64, 1024])
def test_reconstruction_err_is_a_ratio_of_the_whole_set(batch_size):
    X = make_rows(n_rows=301)
    sae = fit_small(X, batch_size=batch_size, learning_rate=1e-9, max_iter=1)
    assert sae.reconstruction_err_ == pytest.approx(1 - sae.score(X), rel=1e-3)


def test_a_fit_that_diverges_is_refused():
    X = make_rows()
    sae = TopKSAE(24, 3, max_iter=5, learning_rate=1e30)
    with pytest.raises(ValueError, match="Training diverged in pass"):
        sae.fit(X)
    assert not hasattr(sae, "components_")


def test_without_an_intercept_the_pre_bias_stays_zero():
    X = make_rows()
    sae = fit_small(X, fit_intercept=False, normalize=None)
    assert not sae.mean_.any()
    assert fit_small(X, normalize=None).mean_.any()
    assert_allclose(sae.transform(X).toarray(), reference_codes(sae, X), atol=1e-12)


def test_same_seed_same_model():
    X = make_rows()
    first, second, other = (fit_small(X, random_state=seed) for seed in (0, 0, 1))
    assert_array_equal(first.components_, second.components_)
    assert not np.array_equal(first.components_, other.components_)


def test_refitting_without_a_threshold_drops_it():
    X = make_rows()
    sae = fit_small(X, activation="batch_topk")
    assert sae.threshold_ > 0
    assert not hasattr(sae.set_params(activation="topk").fit(X), "threshold_")


def test_float64_and_float32_agree():
    X = make_rows()
    in_64, in_32 = fit_small(X), fit_small(X.astype(np.float32))
    assert in_64.components_.dtype == np.float64
    assert in_64.score(X) == pytest.approx(in_32.score(X), abs=0.02)


def test_float16_is_computed_in_float32():
    X = make_rows(dtype=np.float16)
    in_16, in_32 = fit_small(X), fit_small(X.astype(np.float32))
    assert_array_equal(in_16.components_, in_32.components_)
    assert in_16.transform(X).dtype == np.float32


def test_a_planted_dictionary_is_recovered():
    data = make_paired_features(
        5000,
        n_features=32,
        n_shared=48,
        n_x_only=0,
        n_y_only=0,
        max_interference=0.6,
        sparsity=0.95,
        noise_std=0.01,
        random_state=0,
    )
    sae = TopKSAE(
        96, 4, max_iter=60, batch_size=256, learning_rate=3e-3, random_state=0
    ).fit(data.X)
    best = np.abs(data.x_features @ sae.components_.T).max(axis=1)
    assert np.mean(best > 0.9) > 0.9
    assert sae.score(data.X) > 0.9


def test_cuda_is_refused_where_there_is_none():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ValueError, match=r"device='cuda'.*no CUDA device"):
        fit_small(make_rows(), device="cuda")


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    X = make_rows(dtype=np.float32)
    on_cpu, on_gpu = fit_small(X, device="cpu"), fit_small(X, device="cuda")
    assert on_gpu.score(X) == pytest.approx(on_cpu.score(X), abs=0.02)
    codes = on_gpu.transform(X).toarray()
    assert_allclose(
        codes, on_gpu.set_params(device="cpu").transform(X).toarray(), atol=1e-5
    )


@pytest.mark.parametrize(
    "changed", [{"transform_algorithm": "OMP"}, {"precision": "fp16"}]
)
def test_a_bad_option_set_after_the_fit_is_refused(changed):
    X = make_rows()
    sae = fit_small(X).set_params(**changed)
    with pytest.raises(InvalidParameterError, match=next(iter(changed))):
        sae.transform(X)
