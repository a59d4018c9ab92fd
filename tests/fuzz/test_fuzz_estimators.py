"""Fit and transform of any input: a clear error, or codes that are what they claim.

FUZZ_EXAMPLES says how many examples each test draws, new ones every time; without it
they are a few and always the same.
"""

import copy
import os
import traceback

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_arrays import CODE_LAYOUTS, VALUES, cast, codes, snapshot, view
from scipy import sparse

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.interventions import ModalityGapRemover
from skxsae.search import ConceptIndex

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
fuzzed = settings(
    deadline=None,
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
# what is true of rows this few
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "Nothing is matched",
        "Only .* of .* matches score above the noise floor",
        "Maximum number of iterations",
        "FastICA did not converge",
        "Number of distinct clusters",
    )
]

_RAISING = ("skxsae", "sklearn/utils/")
ACTIVATIONS = ["topk", "batch_topk", "relu", "jumprelu", "matching_pursuit"]
# a soft matching multiplies by the ratio of the lengths of the codes of two views
ORDINARY = sorted(set(VALUES) - {"scales", "huge", "tiny", "denormal", "small"})
NORMALIZATIONS = ["scale", "center", "center_l2", "l2", "standard", None]


@st.composite
def sae_params(draw):
    """Parameters of an autoencoder that is soon trained."""
    n_latents = draw(st.sampled_from(["auto", 1, 2, 5, 16]))
    return {
        "n_latents": n_latents,
        "k": draw(st.integers(1, 1 if n_latents == 1 else 2)),
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "normalize": draw(st.sampled_from(NORMALIZATIONS)),
        "loss": draw(st.sampled_from(["fvu", "mse_sum", "mse_mean"])),
        "batch_size": draw(st.sampled_from([2, 3, 16, 1024])),
        "fit_intercept": draw(st.booleans()),
        "precision": draw(st.sampled_from(["float32", "screen", "bf16", "int8"])),
        "transform_algorithm": draw(st.sampled_from(["auto", "encoder", "mp", "omp"])),
        "positive_code": draw(st.booleans()),
        "aux_k": draw(st.sampled_from([None, 1, 7])),
        "max_iter": draw(st.integers(1, 3)),
        "random_state": 0,
    }


ACCEPTED: list[bool] = []


@pytest.fixture(autouse=True)
def some_are_accepted():
    """Let a test fail whose fits were nearly all refused: it has seen nothing."""
    ACCEPTED.clear()
    yield
    assert np.mean(ACCEPTED or [True]) > 0.3


def fit_or_refuse(estimator, *views, **options):
    """A fitted estimator, or None if a clear error says why there is none."""
    before = [snapshot(view) for view in views]
    try:
        fitted = estimator.fit(*views, **options)
    except ValueError as error:
        # raised on purpose, and not by what was computed
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        if not any(part in where for part in _RAISING):
            raise
        fitted = None
    ACCEPTED.append(fitted is not None)
    for view_before, each in zip(before, views, strict=True):
        for old, new in zip(view_before, snapshot(each), strict=True):
            np.testing.assert_array_equal(old, new)
    return fitted


def assert_canonical(Z, shape):
    """A CSR array that SciPy need not clean up, of finite numbers."""
    assert Z.shape == shape
    assert Z.format == "csr"
    Z.check_format(full_check=True)
    again = sparse.csr_array((Z.data, Z.indices, Z.indptr), shape=Z.shape)
    assert again.has_canonical_format
    assert np.isfinite(Z.data).all()
    assert (Z.data != 0).all()


def assert_same_codes(found, wanted):
    """Activations are equal up to rounding, whichever of two equal ones was taken."""
    eps = np.finfo(wanted.dtype).eps
    found, wanted = (-np.sort(-abs(Z.toarray())) for Z in (found, wanted))
    # normalised rows are of about unit length, and what is left of them may be tiny
    most = max(wanted.max(initial=0), 1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e4 * eps, atol=1e4 * eps * most)


def check_sae(sae, X, plain):
    """All that is true of the codes of any autoencoder of one view."""
    n, m = plain.shape[0], sae.n_latents_
    for name in ("components_", "encoder_", "encoder_bias_", "mean_", "firing_rate_"):
        assert np.isfinite(getattr(sae, name)).all(), name
    before = snapshot(X)
    Z = sae.transform(X)
    np.testing.assert_array_equal(snapshot(X)[0], before[0])
    assert_canonical(Z, (n, m))
    at_most_k = sae.activation_ in ("topk", "matching_pursuit")
    if at_most_k or sae.transform_algorithm in ("mp", "omp"):
        assert np.diff(Z.indptr).max() <= sae.k_
    pursues = sae.activation_ == "matching_pursuit" or sae.transform_algorithm == "mp"
    if sae.positive_code or not pursues:
        assert (Z.data > 0).all()
    rebuilt = sae.inverse_transform(Z)
    assert rebuilt.shape == plain.shape
    assert np.isfinite(rebuilt).all()
    score = sae.score(X)
    assert np.isfinite(score)
    assert score <= 1
    return Z


@fuzzed
@given(params=sae_params(), given_view=view())
def test_autoencoder(params, given_view):
    X, plain = given_view
    sae = fit_or_refuse(TopKSAE(**params), X)
    if sae is None:
        return
    Z = check_sae(sae, X, plain)
    # of any layout the same codes; of two latents that are equal it may be the other
    if not _named(X) and not isinstance(X, list):  # of Python's numbers
        assert_same_codes(sae.transform(np.ascontiguousarray(plain)), Z)


@fuzzed
@given(params=sae_params(), given_view=view())
def test_rows_alone_have_the_codes_of_rows_together(params, given_view):
    _, plain = given_view
    sae = fit_or_refuse(TopKSAE(**params), plain)
    if sae is None:
        return
    together = sae.transform(plain)
    alone = sparse.vstack([sae.transform(row[None]) for row in plain], format="csr")
    assert_same_codes(alone, together)


@fuzzed
@given(params=sae_params(), given_view=view())
def test_a_fit_does_not_depend_on_the_layout(params, given_view):
    X, plain = given_view
    if _named(X):
        X = X.to_numpy()
    sae = fit_or_refuse(TopKSAE(**params), X)
    same = fit_or_refuse(TopKSAE(**params), np.ascontiguousarray(plain))
    assert (sae is None) == (same is None)
    if sae is not None and not isinstance(X, list):  # of Python's numbers
        np.testing.assert_array_equal(sae.components_, same.components_)


@fuzzed
@given(params=sae_params(), given_view=view(), data=st.data())
def test_a_failed_fit_changes_nothing(params, given_view, data):
    X, plain = given_view
    sae = fit_or_refuse(TopKSAE(**params), X)
    if sae is None:
        return
    before = copy.deepcopy(vars(sae))
    codes_before = sae.transform(X)
    bad = cast(plain, data.draw(st.sampled_from(["f2", "f4", "f8"])))
    # of another width, which is noted before the rows are looked at
    bad = np.hstack([bad, bad[:, :1]])
    bad[data.draw(st.integers(0, len(bad) - 1)), 0] = data.draw(
        st.sampled_from([np.nan, np.inf, -np.inf])
    )
    with pytest.raises(ValueError, match="contains"):
        sae.fit(bad)
    with pytest.raises(ValueError, match=r"minimum of 2|at least 2|1 sample"):
        sae.fit(bad[:1])
    assert vars(sae).keys() == before.keys()
    assert (sae.transform(X) != codes_before).nnz == 0


@st.composite
def two_views(draw, values=None):
    """Two views of equally many rows."""
    n = draw(st.integers(2, 40))
    width = draw(st.integers(1, 8))
    other = width if draw(st.booleans()) else draw(st.integers(1, 8))
    return draw(view(n, width, values)), draw(view(n, other, values))


@fuzzed
@given(
    params=sae_params(),
    given_views=two_views(),
    coupling=st.sampled_from(
        ["shared", "cross_reconstruction", "global_topk", "crosscoder"]
    ),
    alignment=st.sampled_from(
        ["auto", "none", "iso_energy", "iso_energy_masked", "inner_product"]
    ),
    weight=st.sampled_from(["auto", 0.0, 0.1]),
    mask_rate=st.sampled_from([0.0, 0.3]),
    statistics=st.sampled_from(["per_view", "pooled"]),
    fits_together=st.sampled_from([True, True, False]),
)
def test_paired_autoencoder(
    params,
    given_views,
    coupling,
    alignment,
    weight,
    mask_rate,
    statistics,
    fits_together,
):
    (X, plain_x), (y, plain_y) = given_views
    if fits_together:
        if coupling == "shared" and plain_x.shape != plain_y.shape:
            coupling = "crosscoder"
        if coupling in ("cross_reconstruction", "crosscoder"):
            alignment, mask_rate = "auto", 0.0
        if coupling == "global_topk":
            params["activation"] = "topk"
        if plain_x.shape != plain_y.shape:
            statistics = "per_view"
        weight = 0.1 if weight == "auto" else weight
    sae = PairedSAE(
        coupling=coupling,
        alignment=alignment,
        alignment_weight=weight,
        mask_rate=mask_rate,
        statistics=statistics,
        **params,
    )
    sae = fit_or_refuse(sae, X, y)
    if sae is None:
        return
    codes_x, codes_y = sae.transform(X, y)
    shape = len(plain_x), sae.x_sae_.n_latents_
    assert_canonical(codes_x, shape)
    assert_canonical(codes_y, shape)
    for rebuilt, plain in zip(
        sae.inverse_transform(codes_x, codes_y), (plain_x, plain_y), strict=True
    ):
        assert rebuilt.shape == plain.shape
        assert np.isfinite(rebuilt).all()
    assert np.isfinite(sae.score(X, y))
    if coupling == "crosscoder":
        with pytest.raises(ValueError, match="pass y too"):
            sae.transform(X)
    else:
        assert (sae.transform(X) != codes_x).nnz == 0


@st.composite
def matchers(draw):
    """Matchers of all kinds."""
    return CoactivationMatcher(
        metric=draw(
            st.sampled_from(
                ["correlation", "absolute_correlation", "cosine", "jaccard"]
            )
        ),
        assignment=draw(
            st.sampled_from(["hungarian", "greedy", "mutual_nearest", "soft"])
        ),
        min_fires=draw(st.sampled_from([1, 2, 10])),
        min_score=draw(st.sampled_from([None, 0.1, "noise_floor"])),
        n_null=draw(st.sampled_from([0, 1, "auto"])),
        n_bootstrap=draw(st.sampled_from([0, 3])),
        shrinkage=draw(st.sampled_from([0.5, 1.0, 1e-3])),
        rank=draw(st.sampled_from([1, 3, 256])),
        random_state=0,
    )


@fuzzed
@given(params=sae_params(), given_views=two_views(ORDINARY), matcher=matchers())
def test_two_aligned_autoencoders(params, given_views, matcher):
    (X, plain_x), (y, plain_y) = given_views
    part = TopKSAE(**params)
    sae = PostHocAlignedSAE(x_sae=part, y_sae=part, matcher=matcher, random_state=0)
    sae = fit_or_refuse(sae, X, y)
    if sae is None:
        return
    codes_x, codes_y = sae.transform(X, y)
    assert_canonical(codes_x, (len(plain_x), sae.n_aligned_))
    assert_canonical(codes_y, (len(plain_y), sae.n_aligned_))
    for rebuilt in sae.inverse_transform(codes_x, codes_y):
        assert np.isfinite(rebuilt).all()
    assert np.isfinite(sae.score(X, y))
    description = sae.describe(plain_x if not _named(X) else X)
    assert np.isfinite(description["activation"]).all()


@st.composite
def two_codes(draw):
    """Codes of two views with equally many rows."""
    n = draw(st.integers(2, 60))
    negative = draw(st.booleans())
    return draw(codes(n, negative=negative)), draw(codes(n, negative=negative))


@fuzzed
@given(matcher=matchers(), given_codes=two_codes(), n_groups=st.integers(1, 5))
def test_matcher(matcher, given_codes, n_groups):
    (X, dense_x), (y, dense_y) = given_codes
    options = {}
    if n_groups > 1:
        options["groups"] = np.arange(len(dense_x)) % n_groups
    fitted = fit_or_refuse(matcher, X, y, **options)
    if fitted is None:
        return
    matching = fitted.matching_
    assert matching.shape == (dense_y.shape[1],)
    matched = matching[matching >= 0]
    assert len(set(matched.tolist())) == len(matched)
    assert set(matched.tolist()) <= set(range(dense_x.shape[1]))
    has_score = np.isfinite(fitted.scores_)
    np.testing.assert_array_equal(has_score, matching >= 0)
    everything = np.sort(np.concatenate([matched, fitted.unmatched_]))
    np.testing.assert_array_equal(everything, np.arange(dense_x.shape[1]))
    Z = fitted.transform(X)
    Z = sparse.csr_array(Z)
    assert np.isfinite(Z.data).all()
    if fitted.assignment != "soft":
        expected = dense_x[:, matching] * (matching >= 0)
        np.testing.assert_array_equal(Z.toarray(), expected)
    # of any layout the same matching
    for layout in ("dense", "csr", "csc"):
        same = copy.deepcopy(matcher).fit(
            CODE_LAYOUTS[layout](dense_x), CODE_LAYOUTS[layout](dense_y), **options
        )
        np.testing.assert_array_equal(same.matching_, matching)
        np.testing.assert_array_equal(same.scores_, fitted.scores_)


@fuzzed
@given(
    method=st.sampled_from(
        [
            "center",
            "shift",
            "random_shift",
            "project_means",
            "project_difference",
            "project_coordinates",
        ]
    ),
    given_views=two_views(),
)
def test_gap_remover(method, given_views):
    (X, plain_x), (y, plain_y) = given_views
    remover = fit_or_refuse(ModalityGapRemover(method, random_state=0), X, y)
    if remover is None:
        return
    moved = remover.transform(X, y)
    for each, plain in zip(moved, (plain_x, plain_y), strict=True):
        assert each.shape == plain.shape
        assert np.isfinite(np.asarray(each)).all()


@fuzzed
@given(
    method=st.sampled_from(["pca", "ica", "nmf", "kmeans", "dictionary"]),
    given_view=view(),
    n_latents=st.sampled_from(["auto", 2, 6]),
    normalize=st.sampled_from(NORMALIZATIONS),
    algorithm=st.sampled_from(["omp", "mp", "encoder"]),
)
def test_baseline(method, given_view, n_latents, normalize, algorithm):
    X, plain = given_view
    baseline = SparseBaseline(
        method,
        n_latents,
        k=2,
        max_iter=3,
        normalize=normalize,
        transform_algorithm=algorithm,
        random_state=0,
    )
    baseline = fit_or_refuse(baseline, X)
    if baseline is not None:
        check_sae(baseline, X, plain)


@fuzzed
@given(given_items=codes(), data=st.data(), n_results=st.integers(1, 70))
def test_index(given_items, data, n_results):
    items, dense = given_items
    index = fit_or_refuse(ConceptIndex(n_results), items)
    if index is None:
        return
    query, dense_query = data.draw(codes(n_latents=dense.shape[1]))
    hits = index.search(query)
    assert np.isfinite(hits["similarity"]).all()
    assert (hits["similarity"] <= 1 + 1e-5).all()
    assert hits["item"].between(0, len(dense) - 1).all()
    meets = ((dense_query != 0).astype(int) @ (dense != 0).T.astype(int)) > 0
    counts = np.minimum(meets.sum(axis=1), n_results)
    found = np.bincount(hits["query"].astype(int), minlength=len(dense_query))
    np.testing.assert_array_equal(found, counts)


def _named(X):
    """Whether an array has names of features, which transform asks for again."""
    return hasattr(X, "columns")
