"""Directions and intercepts that decode as the estimators do."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.inspection import decoder
from skxsae.metrics import insertion_score

NORMALIZE = ["scale", "center", "center_l2", "l2", "standard", None]


def decoded(weights, codes):
    return codes @ weights.components + weights.intercept


@pytest.mark.parametrize("normalize", NORMALIZE)
def test_one_view_decodes_as_inverse_transform(planted, normalize):
    X = planted.X * 3 + 2
    sae = TopKSAE(16, 4, max_iter=2, normalize=normalize, random_state=0).fit(X)
    codes = sae.transform(X)
    weights = decoder(sae)
    assert weights.components.dtype == weights.intercept.dtype == np.float64
    expected = sae.inverse_transform(codes)
    assert_allclose(decoded(weights, codes), expected, rtol=1e-4, atol=1e-4)


def soft(planted):
    matcher = CoactivationMatcher(assignment="soft")
    saes = {
        f"{view}_sae": FrozenEstimator(
            TopKSAE(16, 4, max_iter=2, random_state=0).fit(getattr(planted, name))
        )
        for view, name in (("x", "X"), ("y", "y"))
    }
    sae = PostHocAlignedSAE(**saes, matcher=matcher, random_state=0)
    return sae.fit(planted.X, planted.y)


@pytest.mark.parametrize("kind", ["matched", "soft", "paired"])
def test_two_views_decode_as_inverse_transform(planted, kind):
    if kind == "paired":
        sae = PairedSAE(16, 4, max_iter=2, random_state=0)
        sae.fit(planted.X, planted.y * 2 + 1)
    else:
        sae = planted.model if kind == "matched" else soft(planted)
    codes = sae.transform(planted.X, planted.y)
    expected = sae.inverse_transform(*codes)
    for view, part, rows in zip("xy", codes, expected, strict=True):
        weights = decoder(sae, view)
        assert_allclose(decoded(weights, part), rows, rtol=1e-4, atol=1e-4)


def test_latents_that_a_view_lacks_are_rows_of_zeros(planted):
    sae = soft(planted)
    assert not decoder(sae, "x").components[16:].any()
    assert not decoder(sae, "y").components[:16].any()


def test_baselines_and_frozen_estimators(planted):
    baseline = SparseBaseline("pca", 16, 4, random_state=0).fit(planted.X)
    weights = decoder(FrozenEstimator(baseline))
    assert_array_equal(weights.components, decoder(baseline).components)
    frame = weights.to_frame()
    assert_array_equal(frame, weights.components)
    assert frame.index.name == "latent"


def test_the_weights_are_what_insertion_needs(planted):
    X = planted.X * 3 + 2
    sae = TopKSAE(16, 4, max_iter=5, random_state=0).fit(X)
    codes, weights = sae.transform(X), decoder(sae)
    right = insertion_score(X, codes, weights.components, intercept=weights.intercept)
    wrong = insertion_score(X, codes, sae.components_, intercept=weights.intercept)
    assert right > wrong + 0.05


def test_what_has_no_such_decoder_is_refused(planted):
    sae = TopKSAE(16, 4, max_iter=1, random_state=0)
    for unfitted in (sae, PairedSAE(16, 4)):
        with pytest.raises(NotFittedError):
            decoder(unfitted)
    with pytest.raises(ValueError, match="view='y' must be 'x' for a TopKSAE"):
        decoder(sae.fit(planted.X), "y")
    with pytest.raises(TypeError, match="got StandardScaler"):
        decoder(StandardScaler().fit(planted.X))
