"""Input that once crashed a fit or was silently made worse."""

import numpy as np
import pytest

from skxsae import PairedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.datasets import DiskArray

X = np.random.default_rng(0).standard_normal((60, 6))
SIZES = {"n_latents": 8, "k": 2, "max_iter": 2, "random_state": 0}


def test_rows_that_run_backwards():
    sae = TopKSAE(**SIZES).fit(X[::-1, ::-1])
    same = TopKSAE(**SIZES).fit(X[::-1, ::-1].copy())
    np.testing.assert_array_equal(sae.components_, same.components_)


@pytest.mark.parametrize("dtype", [">f8", ">f4"])
def test_bytes_in_another_order_keep_their_precision(tmp_path, dtype):
    foreign = X.astype(dtype)
    native = foreign.astype(foreign.dtype.newbyteorder("="))
    expected = TopKSAE(**SIZES).fit(native)
    np.save(tmp_path / "x.npy", foreign)
    for given in (foreign, DiskArray(tmp_path / "x.npy")):
        sae = TopKSAE(**SIZES).fit(given)
        assert sae.components_.dtype == native.dtype
        np.testing.assert_array_equal(sae.components_, expected.components_)
        assert (sae.transform(given) != expected.transform(native)).nnz == 0


def refusal(function, *args):
    """What a function says that raises a ValueError, None if it does not."""
    try:
        function(*args)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("normalize", ["center", "scale", "standard", None])
def test_rows_whose_squares_float32_cannot_hold(normalize):
    huge = (1e29 * X).astype(np.float32)
    sae = TopKSAE(normalize=normalize, **SIZES)
    says = refusal(sae.fit, huge)
    if normalize in ("scale", "standard"):
        assert says is None
        assert np.isfinite(sae.transform(huge).data).all()
    else:
        assert "diverged" in says


def test_weights_that_are_not_finite_are_no_model():
    def vanishing(x, y):
        """A term of 0 whose gradient is NaN."""
        return (0 * (x - y).sum()).sqrt()

    sae = PairedSAE(alignment=vanishing, batch_size=60, **{**SIZES, "max_iter": 1})
    with pytest.raises(ValueError, match="a weight is not finite"):
        sae.fit(X, X)
    assert not hasattr(sae, "x_sae_")
    sae.set_params(max_iter="auto")
    with pytest.raises(ValueError, match="a weight is not finite"):
        sae.partial_fit(X, X)
    assert not hasattr(sae, "x_sae_")


@pytest.mark.parametrize("method", ["pca", "ica", "nmf", "kmeans", "dictionary"])
@pytest.mark.parametrize("scale", [0.0, 1e-42])
def test_baselines_of_rows_that_are_hardly_there(method, scale):
    rows = (scale * X).astype(np.float32)
    baseline = SparseBaseline(method, 4, 2, normalize="center", random_state=0)
    says = refusal(baseline.fit, rows)
    if says is None:
        assert np.isfinite(baseline.transform(rows).data).all()
    else:
        assert "finds no directions" in says


def test_many_features_and_few_latents_are_encoded_in_small_blocks(monkeypatch):
    wide = np.random.default_rng(0).standard_normal((3000, 4096)).astype(np.float32)
    sae = TopKSAE(2, 1, max_iter=1, random_state=0).fit(wide[:64])
    read = []
    from skxsae._views import View

    take = View.read
    monkeypatch.setattr(
        View, "read", lambda view, rows: read.append(take(view, rows)) or read[-1]
    )
    sae.transform(wide)
    assert max(block.numel() for block in read) <= 2**22


@pytest.mark.parametrize("normalize", ["scale", "standard", "center"])
def test_columns_that_are_stored_first_add_up_alike(normalize):
    # the order of a sum shows where the rows are equal and their mean is rounded
    rows = np.repeat([[3.0, -2.55566503]], 32, axis=0)
    fits = [
        TopKSAE(2, 1, max_iter=1, batch_size=2, normalize=normalize, random_state=0)
        for _ in range(2)
    ]
    fits[0].fit(np.asfortranarray(rows))
    fits[1].fit(np.ascontiguousarray(rows))
    np.testing.assert_array_equal(fits[0].offset_, fits[1].offset_)
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)


def test_int8_with_one_feature_gives_the_same_codes_every_time():
    rows = X[:, :1].astype(np.float32)
    sae = TopKSAE(16, 1, precision="int8", max_iter=1, random_state=0).fit(rows)
    codes, others = sae.transform(rows), []
    for size in range(1, 40):
        others.append(np.full(97 * size, size, dtype=np.int8))  # other bytes around
        assert (sae.transform(rows) != codes).nnz == 0
    exact = sae.set_params(precision="float32").transform(rows)
    np.testing.assert_allclose(codes.sum(axis=1), exact.sum(axis=1), rtol=0.02)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("normalize", ["l2", "center_l2"])
def test_rows_of_any_length_get_unit_length(normalize, scale):
    rows = X.astype(np.float32)
    codes = [
        TopKSAE(normalize=normalize, **SIZES).fit_transform(each)
        for each in (rows, np.float32(scale) * rows)
    ]
    np.testing.assert_allclose(*(each.toarray() for each in codes), atol=1e-3)
