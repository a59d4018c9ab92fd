"""What each kind of input gets: a right answer, or one clear error."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import InvalidParameterError

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE

RNG = np.random.default_rng(0)
# numbers that float16 holds exactly
X = RNG.integers(-1000, 1000, size=(60, 6)).astype(np.float32) / 256
Y = X[:, RNG.permutation(6)] * np.float32([1, 2, -1, 1, -2, 1])

OPTIONS = {"n_latents": 8, "k": 2, "max_iter": 2, "random_state": 0}
MATCHER = CoactivationMatcher(min_fires=1, n_null=0)
ESTIMATORS = {
    "TopKSAE": TopKSAE(**OPTIONS),
    "PairedSAE": PairedSAE(**OPTIONS),
    "PostHocAlignedSAE": PostHocAlignedSAE(matcher=MATCHER, **OPTIONS),
    "CoactivationMatcher": MATCHER,
}
TWO_VIEWS = ["PairedSAE", "PostHocAlignedSAE"]
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
every_sae = pytest.mark.parametrize("name", ["TopKSAE", *TWO_VIEWS])
every_pair = pytest.mark.parametrize("name", TWO_VIEWS)
# (estimator, whether it is the second view that is odd)
every_view = pytest.mark.parametrize(
    ("name", "second"),
    [
        (name, second)
        for name in ESTIMATORS
        for second in (False, True)
        if (name, second) != ("TopKSAE", True)
    ],
)


def make(name, **params):
    """An unfitted estimator."""
    return clone(ESTIMATORS[name]).set_params(**params)


def fit(name, odd, second=False, estimator=None):
    """An estimator fitted on one odd view and, if it takes two, one ordinary view."""
    estimator = estimator or make(name)
    if name == "TopKSAE":
        return estimator.fit(odd)
    return estimator.fit(X, odd) if second else estimator.fit(odd, Y)


def encode(name, estimator, odd, second=False):
    """Codes of the view in question as an ndarray."""
    if name in TWO_VIEWS and second:
        codes = estimator.transform(X, odd)[1]
    else:
        codes = estimator.transform(X if second else odd)
    return codes.toarray() if sparse.issparse(codes) else np.asarray(codes)


def assert_same_fit(name, odd, plain, second=False):
    """An odd container leads to the codes that the plain array leads to."""
    codes = encode(name, fit(name, odd, second), odd, second)
    expected = encode(name, fit(name, plain, second), plain, second)
    assert codes.dtype == expected.dtype
    np.testing.assert_array_equal(codes, expected)
    assert codes.any()


# arrays that say no: NaN, shape and number of rows


@every_view
@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_and_infinity_are_named_by_row(name, second, value, kind, dtype):
    bad = (Y if second else X).astype(dtype)
    bad[7, 2], bad[9, 1] = value, -value
    view = "y" if second else "X"
    message = f"Input {view} contains {kind} in row 7, column 2"
    with pytest.raises(ValueError, match=message):
        fit(name, bad, second)
    fitted = fit(name, X)
    if not (name == "CoactivationMatcher" and second):
        with pytest.raises(ValueError, match=message):
            encode(name, fitted, bad, second)


@pytest.mark.parametrize("name", ["CoactivationMatcher"])
@pytest.mark.parametrize("second", [False, True])
def test_nan_in_sparse_codes_is_named_by_row(name, second):
    bad = sparse.csr_array(abs(X))
    bad.data[bad.indptr[7] + 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN in row 7"):
        fit(name, bad, second)


def test_nan_beyond_the_first_block_is_named_by_row():
    # a block of check_finite holds 2**22 entries
    tall = np.zeros((2**22 + 10, 1), dtype=np.float16)
    tall[2**22 + 3] = np.nan
    with pytest.raises(ValueError, match=f"NaN in row {2**22 + 3}, column 0"):
        TopKSAE(**OPTIONS).fit(tall)


@every_estimator
def test_wrong_width_at_transform(name):
    fitted = fit(name, X)
    message = rf"X has 5 features, but {name} is expecting 6 features as input"
    with pytest.raises(ValueError, match=message):
        fitted.transform(X[:, :5])
    if name == "TopKSAE":
        with pytest.raises(ValueError, match=message):
            fitted.score(X[:, :5])


@every_pair
@pytest.mark.parametrize("method", ["transform", "score", "realign"])
def test_wrong_width_of_y(name, method):
    if (name, method) == ("PairedSAE", "realign"):
        method = "score"
    message = f"y has 5 features, but {name} is expecting 6 features in the second"
    with pytest.raises(ValueError, match=message):
        getattr(fit(name, X), method)(X, Y[:, :5])


def test_paired_sae_needs_equal_widths():
    message = "X has 6 features and y has 5: PairedSAE .* PostHocAlignedSAE take"
    with pytest.raises(ValueError, match=message):
        make("PairedSAE").fit(X, Y[:, :5])


@every_sae
def test_wrong_width_of_codes(name):
    with pytest.raises(ValueError, match="Z has 3 columns, but this TopKSAE has"):
        fit(name, X).inverse_transform(np.zeros((2, 3)))


@pytest.mark.parametrize("name", [*TWO_VIEWS, "CoactivationMatcher"])
def test_views_of_different_lengths(name):
    message = "inconsistent numbers of samples: X has 60 rows and y has 50"
    with pytest.raises(ValueError, match=message):
        make(name).fit(X, Y[:50])
    for method in {"transform", "score", "realign"} & set(dir(make(name))):
        if name in TWO_VIEWS:
            with pytest.raises(ValueError, match=message):
                getattr(fit(name, X), method)(X, Y[:50])


@every_view
@pytest.mark.parametrize("n_rows", [0, 1])
def test_too_few_rows_to_fit(name, second, n_rows):
    expected = rf"Found array with {n_rows} sample\(s\) .* minimum of \d is required"
    if (name, second, n_rows) == ("CoactivationMatcher", True, 1):
        expected = "X has 60 rows and y has 1"
    with pytest.raises(ValueError, match=expected):
        fit(name, X[:n_rows], second)


@every_estimator
def test_no_rows_to_transform(name):
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        fit(name, X).transform(X[:0])


@every_estimator
def test_one_row_to_transform(name):
    fitted = fit(name, X)
    np.testing.assert_allclose(
        encode(name, fitted, X[:1]), encode(name, fitted, X)[:1], rtol=1e-5, atol=1e-6
    )


@every_estimator
def test_no_features(name):
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\)"):
        fit(name, X[:, :0])


@every_estimator
def test_one_dimensional_x(name):
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        fit(name, X[:, 0])


@every_view
def test_three_dimensions(name, second):
    with pytest.raises(ValueError, match="Found array with dim 3"):
        fit(name, X[None], second)


@every_estimator
def test_missing_x(name):
    with pytest.raises(ValueError, match="Expected 2D array, got scalar array"):
        fit(name, None)


@pytest.mark.parametrize("name", [*TWO_VIEWS, "CoactivationMatcher"])
def test_missing_y(name):
    message = f"{name} requires y to be passed, but the target y is None: y is the "
    with pytest.raises(ValueError, match=message):
        make(name).fit(X, None)
    with pytest.raises(ValueError, match="requires y to be passed"):
        make(name).fit(X)


@every_pair
def test_missing_y_after_the_fit(name):
    fitted = fit(name, X)
    for method in {"score", "realign"} & set(dir(fitted)):
        with pytest.raises(ValueError, match="requires y to be passed"):
            getattr(fitted, method)(X, None)
    # to transform, it means the codes of X alone
    assert fitted.transform(X, None).shape[0] == len(X)


def test_labels_as_y_are_taken_as_a_view_with_a_warning():
    labels = np.arange(60) % 3
    with pytest.warns(DataConversionWarning, match="wrap it in FrozenEstimator"):
        fitted = make("PostHocAlignedSAE").fit(X, labels)
    column = make("PostHocAlignedSAE").fit(X, labels.reshape(-1, 1))
    np.testing.assert_array_equal(fitted.y_sae_.components_, column.y_sae_.components_)


def test_labels_as_y_of_a_paired_sae():
    with (
        pytest.warns(DataConversionWarning, match="wrap it in FrozenEstimator"),
        pytest.raises(ValueError, match="X has 6 features and y has 1"),
    ):
        make("PairedSAE").fit(X, np.arange(60) % 3)


# values that say nothing: constants, zeros, latents that never fire


@every_sae
@pytest.mark.parametrize("value", [0.0, 3.3])
@pytest.mark.parametrize(
    "normalize", ["scale", "center", "center_l2", "l2", "standard"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_rows_are_rebuilt(name, value, normalize, dtype):
    constant = np.full(X.shape, value, dtype=dtype)
    if name == "PostHocAlignedSAE":
        views = TopKSAE(normalize=normalize, **OPTIONS)
        estimator = PostHocAlignedSAE(x_sae=views, y_sae=views, matcher=MATCHER)
        with pytest.warns(UserWarning, match="Nothing is matched"):
            estimator.fit(constant, constant)
    else:
        estimator = make(name, normalize=normalize).fit(constant, constant)
    codes = estimator.transform(constant)
    assert np.isfinite(codes.toarray()).all()
    rebuilt = estimator.inverse_transform(codes)
    if normalize == "l2" and value:
        # the length is lost, and comes back as 1
        constant = np.full_like(constant, 1 / np.sqrt(6))
    np.testing.assert_allclose(rebuilt, constant, atol=1e-3)
    # as r2_score: 1 or 0 where there is no variance to explain
    assert estimator.score(constant, constant) in (0, 1)


@every_sae
@pytest.mark.parametrize("normalize", ["scale", "center_l2", "l2", "standard", None])
def test_rows_of_zeros_among_others(name, normalize):
    holed = X.copy()
    holed[::7] = 0
    sae = TopKSAE(normalize=normalize, **OPTIONS)
    estimators = {
        "TopKSAE": sae,
        "PairedSAE": PairedSAE(normalize=normalize, **OPTIONS),
        "PostHocAlignedSAE": PostHocAlignedSAE(x_sae=sae, y_sae=sae, matcher=MATCHER),
    }
    codes = encode(name, fit(name, holed, estimator=estimators[name]), holed)
    assert np.isfinite(codes).all()
    assert codes.any()


@every_sae
def test_a_constant_feature(name):
    flat = X.copy()
    flat[:, 3] = 5
    fitted = fit(name, flat)
    assert np.isfinite(encode(name, fitted, flat)).all()


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_codes_without_variance_are_not_matched(second, value):
    with pytest.warns(UserWarning, match=f"no latent of {'y' if second else 'X'} is"):
        matcher = fit("CoactivationMatcher", np.full_like(X, value), second)
    assert (matcher.matching_ == -1).all()
    assert not matcher.transform(abs(X)).any()


def test_all_latents_dead():
    estimator = make("PostHocAlignedSAE", matcher=CoactivationMatcher(min_fires=61))
    with pytest.warns(UserWarning, match="Nothing is matched.*Lower min_fires"):
        estimator.fit(X, Y)
    assert len(estimator.matches_) == 0
    # each latent has a column of its own
    assert estimator.n_aligned_ == 16
    codes_x, codes_y = (codes.toarray() for codes in estimator.transform(X, Y))
    assert not (codes_x.any(axis=0) & codes_y.any(axis=0)).any()
    assert codes_x.any()
    assert codes_y.any()


@every_sae
def test_fewer_rows_than_latents(name):
    fitted = make(name, n_latents=64).fit(X[:10], Y[:10])
    dictionary = fitted if name == "TopKSAE" else fitted.x_sae_
    np.testing.assert_allclose(
        np.linalg.norm(dictionary.components_[:64], axis=1), 1, rtol=1e-5
    )
    codes = fitted.transform(X[:10])
    assert codes.count_nonzero(axis=1).max() <= 2
    assert codes.nnz > 0


# arrays of other kinds, each with the same answer as a float32 array


@every_view
@pytest.mark.parametrize(
    "kind",
    ["fortran", "strided", "object", "big-endian", "longdouble", "list", "frame"],
)
def test_containers_that_hold_the_same_numbers(name, second, kind):
    plain = Y if second else X
    odd = {
        "fortran": np.asfortranarray,
        "strided": lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
        "object": lambda rows: rows.astype(object),
        "big-endian": lambda rows: rows.astype(">f4"),
        "longdouble": lambda rows: rows.astype(np.longdouble),
        "list": lambda rows: rows.tolist(),
        "frame": pd.DataFrame,
    }[kind](plain)
    assert_same_fit(name, odd, plain, second)


@every_view
@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, bool])
def test_integers_are_taken_as_float32(name, second, dtype):
    numbers = (RNG.integers(0, 100, size=X.shape)).astype(dtype)
    if dtype is bool:
        numbers = X > 0
    assert_same_fit(name, numbers, numbers.astype(np.float32), second)


@every_view
def test_float64_stays_float64(name, second):
    plain = (Y if second else X).astype(np.float64)
    fitted = fit(name, plain, second)
    if name == "CoactivationMatcher":
        plain, second = X.astype(np.float64), False
    assert encode(name, fitted, plain, second).dtype == np.float64


@every_sae
@pytest.mark.parametrize("second", [False, True])
def test_float16_is_taken_as_float32(name, second):
    if name == "TopKSAE" and second:
        name = "PairedSAE"
    plain = Y if second else X
    half = plain.astype(np.float16)
    np.testing.assert_array_equal(half.astype(np.float32), plain)
    assert_same_fit(name, half, plain, second)


@every_view
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_read_only_memmap(name, second, dtype, tmp_path):
    plain = (Y if second else X).astype(dtype)
    np.save(tmp_path / "view.npy", plain)
    mapped = np.load(tmp_path / "view.npy", mmap_mode="r")
    expected = plain.astype(np.float32) if dtype == np.float16 else plain
    assert_same_fit(name, mapped, expected, second)
    np.testing.assert_array_equal(mapped, plain)


class CountingMemmap(np.memmap):
    """Memmap that keeps the largest number of rows that anybody took from it."""

    largest = 0

    def __getitem__(self, key):
        rows = super().__getitem__(key)
        CountingMemmap.largest = max(CountingMemmap.largest, len(np.atleast_1d(rows)))
        return rows

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole memmap was read")


@every_sae
def test_a_memmap_is_read_in_batches(name, tmp_path, monkeypatch):
    monkeypatch.setattr("skxsae._views._BLOCK_ENTRIES", 8 * 6)
    monkeypatch.setattr("skxsae._fitting._SAMPLE", 8)
    X.astype(np.float16).tofile(tmp_path / "view.bin")
    mapped = partial(
        CountingMemmap, tmp_path / "view.bin", dtype=np.float16, mode="r", shape=X.shape
    )
    CountingMemmap.largest = 0
    estimator = make(name)
    if name == "PostHocAlignedSAE":
        view = TopKSAE(batch_size=8, **OPTIONS)
        estimator = PostHocAlignedSAE(x_sae=view, y_sae=view, matcher=MATCHER)
    else:
        estimator.set_params(batch_size=8)
    views = [mapped()] if name == "TopKSAE" else [mapped(), mapped()]
    estimator.fit(*views).transform(*views)
    estimator.score(*views)
    assert 0 < CountingMemmap.largest <= 8


@every_view
def test_frames_leave_their_names(name, second):
    names = list("abcdef")
    frame = pd.DataFrame(Y if second else X, columns=names)
    fitted = fit(name, frame, second)
    if not second:
        assert fitted.feature_names_in_.tolist() == names
    if name in TWO_VIEWS:
        sae, other = fitted.x_sae_, fitted.y_sae_
        sae, other = (other, sae) if second else (sae, other)
        assert sae.feature_names_in_.tolist() == names
        assert not hasattr(other, "feature_names_in_")
        sae.transform(frame)


@every_view
def test_frames_with_shuffled_columns(name, second):
    if name == "CoactivationMatcher" and second:
        name = "PairedSAE"
    frame = pd.DataFrame(Y if second else X, columns=list("abcdef"))
    fitted = fit(name, frame, second)
    with pytest.raises(ValueError, match="feature names should match"):
        encode(name, fitted, frame[list("fedcba")], second)


def test_describe_refuses_shuffled_columns():
    frame = pd.DataFrame(Y, columns=list("abcdef"))
    fitted = fit("PostHocAlignedSAE", frame, second=True)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.describe(frame[list("fedcba")], view="y")


@every_view
def test_text_in_an_object_array(name, second):
    mixed = X.astype(object)
    mixed[3, 3] = "dog"
    with pytest.raises(ValueError, match="could not convert string to float: 'dog'"):
        fit(name, mixed, second)


@every_view
def test_complex_numbers(name, second):
    with pytest.raises(ValueError, match="Complex data not supported"):
        fit(name, X.astype(complex), second)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@every_sae
def test_sparse_embeddings_are_refused(name, container, second):
    if name == "TopKSAE" and second:
        name = "PairedSAE"
    view = "y" if second else "X"
    message = f"Sparse data was passed for {view}, but dense data is required"
    with pytest.raises(TypeError, match=message):
        fit(name, container(X), second)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(
    "container", [sparse.csr_array, sparse.csr_matrix, sparse.csc_array]
)
def test_sparse_codes_are_matched(container, second):
    codes = np.where(RNG.random(X.shape) < 0.5, abs(X), 0)
    fitted = fit("CoactivationMatcher", container(codes), second)
    plain = fit("CoactivationMatcher", codes, second)
    np.testing.assert_array_equal(fitted.matching_, plain.matching_)
    np.testing.assert_allclose(fitted.scores_, plain.scores_, rtol=1e-6)


# tensors


TENSORS = {
    "float32": lambda rows: torch.from_numpy(rows.copy()),
    "float16": lambda rows: torch.from_numpy(rows.copy()).half(),
    "bfloat16": lambda rows: torch.from_numpy(rows.copy()).bfloat16(),
    "requires_grad": lambda rows: torch.from_numpy(rows.copy()).requires_grad_(),
    "transposed": lambda rows: torch.from_numpy(rows.T.copy()).T,
    "int32": lambda rows: torch.from_numpy(rows.copy()).int(),
}


def expected_array(tensor):
    """The float32 array that a tensor stands for."""
    return tensor.detach().cpu().float().numpy()


@every_view
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(name, second, kind):
    tensor = TENSORS[kind](Y if second else X)
    assert_same_fit(name, tensor, expected_array(tensor), second)
    assert tensor.requires_grad == (kind == "requires_grad")
    assert tensor.grad is None


@pytest.mark.gpu
@every_view
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "requires_grad"])
def test_tensors_on_a_gpu(name, second, kind):
    tensor = TENSORS[kind](Y if second else X).cuda()
    codes = encode(name, fit(name, tensor, second), tensor, second)
    plain = expected_array(tensor)
    expected = encode(name, fit(name, plain, second), plain, second)
    np.testing.assert_allclose(codes, expected, rtol=1e-3, atol=1e-3)


@every_sae
@pytest.mark.parametrize("kind", TENSORS)
def test_codes_as_tensors(name, kind):
    fitted = fit(name, X)
    codes = fitted.transform(X).toarray()
    rebuilt = fitted.inverse_transform(TENSORS[kind](codes))
    expected = fitted.inverse_transform(expected_array(TENSORS[kind](codes)))
    np.testing.assert_allclose(rebuilt, expected, rtol=1e-2, atol=1e-2)


# parameters


@every_sae
def test_k_larger_than_n_latents(name):
    with pytest.raises(ValueError, match="k=9 must be <= n_latents=8"):
        fit(name, X, estimator=make(name, k=9))


def test_k_larger_than_n_latents_of_a_view():
    view = TopKSAE(**OPTIONS).set_params(k=9)
    estimator = PostHocAlignedSAE(x_sae=TopKSAE(**OPTIONS), y_sae=view)
    with pytest.raises(ValueError, match="k=9 must be <= n_latents=8"):
        estimator.fit(X, Y)


@every_sae
def test_the_default_k_is_capped_under_auto(name):
    fitted = fit(name, X, estimator=make(name, n_latents="auto", k=32))
    dictionary = fitted if name == "TopKSAE" else fitted.x_sae_
    assert 1 <= dictionary.k_ <= dictionary.n_latents_


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name, estimator in ESTIMATORS.items()
        for option in estimator.get_params(deep=False)
        if option != "device"  # see test_nonsense_device
    ],
)
def test_unknown_option(name, option):
    estimator = make(name, **{option: "nonsense"})
    message = f"The '{option}' parameter of {name} must be .* Got 'nonsense' instead"
    with pytest.raises(InvalidParameterError, match=message):
        fit(name, X, estimator=estimator)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("k", 0),
        ("k", 2.5),
        ("n_latents", 0),
        ("n_latents", 8.0),
        ("max_iter", 0),
        ("batch_size", 0),
        ("learning_rate", 0),
        ("aux_k", 0),
        ("aux_weight", -1),
    ],
)
def test_options_out_of_range(option, value):
    message = f"The '{option}' parameter of TopKSAE must be .* Got {value} instead"
    with pytest.raises(InvalidParameterError, match=message):
        fit("TopKSAE", X, estimator=make("TopKSAE", **{option: value}))


@pytest.mark.parametrize("mask_rate", [-0.1, 1.0])
def test_mask_rate_out_of_range(mask_rate):
    with pytest.raises(InvalidParameterError, match=r"in the range \[0.0, 1.0\)"):
        fit("PairedSAE", X, estimator=make("PairedSAE", mask_rate=mask_rate))


@every_sae
@pytest.mark.parametrize("device", ["nonsense", "", "cuda:-1"])
def test_nonsense_device(name, device):
    message = f"device='{device}' is not a torch device; use 'auto', 'cpu' or 'cuda'"
    with pytest.raises(ValueError, match=message):
        fit(name, X, estimator=make(name, device=device))


@every_sae
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "meta"])
def test_absent_device(name, device, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    kind = device.split(":")[0].upper()
    message = f"device='{device}' was asked for, but torch sees no {kind} device"
    with pytest.raises(ValueError, match=message):
        fit(name, X, estimator=make(name, device=device))
    with pytest.raises(ValueError, match=message):
        TopKSAE(**OPTIONS).fit(X).set_params(device=device).transform(X)


@pytest.mark.parametrize("view", ["x_sae", "y_sae"])
@pytest.mark.parametrize(
    ("option", "value"),
    [("n_latents", 8), ("k", 2), ("max_iter", 2)],
)
def test_shorthand_beside_an_explicit_sae(view, option, value):
    estimator = PostHocAlignedSAE(**{view: TopKSAE(), option: value})
    message = re.escape(f"{option}={value!r} has no effect on {view}, which is given.")
    with pytest.raises(ValueError, match=f"{message} Set it in {view}, or leave"):
        estimator.fit(X, Y)


@pytest.mark.parametrize("method", ["fit", "realign"])
@pytest.mark.parametrize("name", ["PostHocAlignedSAE", "CoactivationMatcher"])
def test_groups_of_the_wrong_shape(name, method):
    if (name, method) == ("CoactivationMatcher", "realign"):
        method = "fit"
    call = getattr(fit(name, X), method)
    with pytest.raises(ValueError, match="groups has 5 entries for 60 rows"):
        call(X, Y, groups=np.arange(5))
    with pytest.raises(ValueError, match="groups has 2 dimensions, but 1 is required"):
        call(X, Y, groups=np.zeros((60, 2)))
    with pytest.raises(ValueError, match="groups has 0 dimensions"):
        call(X, Y, groups=3)


def test_a_single_group_cannot_be_re_paired():
    estimator = make("PostHocAlignedSAE", matcher=CoactivationMatcher(min_fires=1))
    with pytest.raises(ValueError, match="groups has a single value"):
        estimator.fit(X, Y, groups=np.zeros(60))


@pytest.mark.parametrize("groups", [list, np.array, pd.Series])
def test_groups_of_any_kind(groups):
    names = [f"image {row // 2}" for row in range(60)]
    fitted = make("PostHocAlignedSAE").fit(X, Y, groups=groups(names))
    expected = make("PostHocAlignedSAE").fit(X, Y, groups=np.arange(60) // 2)
    np.testing.assert_array_equal(
        fitted.x_sae_.components_, expected.x_sae_.components_
    )


# estimators that are not fitted, or frozen


@pytest.mark.parametrize(
    ("name", "method", "arrays"),
    [
        ("TopKSAE", "transform", (X,)),
        ("TopKSAE", "inverse_transform", (X,)),
        ("TopKSAE", "score", (X,)),
        ("TopKSAE", "get_feature_names_out", ()),
        ("CoactivationMatcher", "transform", (X,)),
        ("CoactivationMatcher", "get_feature_names_out", ()),
        ("PostHocAlignedSAE", "realign", (X, Y)),
        ("PostHocAlignedSAE", "describe", (X,)),
        *(
            (name, method, arrays)
            for name in TWO_VIEWS
            for method, arrays in (
                ("transform", (X,)),
                ("transform", (X, Y)),
                ("inverse_transform", (X,)),
                ("inverse_transform", (X, Y)),
                ("score", (X, Y)),
                ("get_feature_names_out", ()),
            )
        ),
    ],
)
def test_unfitted_use(name, method, arrays):
    with pytest.raises(NotFittedError, match=f"This {name} instance is not fitted yet"):
        getattr(make(name), method)(*arrays)


@pytest.mark.parametrize("view", ["x", "y"])
def test_frozen_sae_of_the_wrong_width(view):
    right, wrong = TopKSAE(**OPTIONS).fit(X), TopKSAE(**OPTIONS).fit(X[:, :4])
    saes = {"x_sae": FrozenEstimator(right), "y_sae": FrozenEstimator(right)}
    saes[f"{view}_sae"] = FrozenEstimator(wrong)
    message = f"The view {view} has 6 features, but the frozen {view}_sae is expecting"
    with pytest.raises(ValueError, match=message):
        PostHocAlignedSAE(**saes).fit(X, Y)


@pytest.mark.parametrize("view", ["x", "y"])
def test_frozen_sae_that_is_not_fitted(view, monkeypatch):
    saes = dict.fromkeys(("x_sae", "y_sae"), TopKSAE(**OPTIONS))
    saes[f"{view}_sae"] = FrozenEstimator(TopKSAE())

    def fit_too_early(*args):
        raise AssertionError("trained before the frozen autoencoder was looked at")

    monkeypatch.setattr(TopKSAE, "fit", fit_too_early)
    message = f"The frozen {view}_sae is a TopKSAE that was not fitted"
    with pytest.raises(NotFittedError, match=message):
        PostHocAlignedSAE(**saes).fit(X, Y)


def test_frozen_estimator_of_another_class():
    with pytest.raises(TypeError, match="y_sae must hold a fitted TopKSAE, got"):
        PostHocAlignedSAE(y_sae=FrozenEstimator(MATCHER)).fit(X, Y)


def test_frozen_sae_with_other_names():
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frozen = FrozenEstimator(TopKSAE(**OPTIONS).fit(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        PostHocAlignedSAE(x_sae=frozen).fit(frame[list("fedcba")], Y)


def test_describe_of_an_unknown_view():
    with pytest.raises(ValueError, match="view='z' must be 'x' or 'y'"):
        fit("PostHocAlignedSAE", X).describe(X, view="z")


@every_estimator
def test_a_refused_fit_leaves_a_fitted_estimator_as_it_was(name):
    fitted = fit(name, X)
    before = dict(vars(fitted))
    bad = X[:, :4].copy()
    bad[3, 3] = np.nan
    with pytest.raises(ValueError, match="row 3, column 3"):
        fit(name, bad, estimator=fitted)
    assert vars(fitted) == before
