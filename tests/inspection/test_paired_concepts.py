"""Codes and directions that the displays show of each kind of estimator."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler, normalize

from skxsae import PairedSAE, TopKSAE
from skxsae.inspection._paired_concepts import paired_concepts


def test_concepts_of_two_views_have_the_columns_of_transform(planted):
    concepts = paired_concepts(planted.model, planted.X[:50], planted.y[:40])
    codes = planted.model.transform(planted.X[:50], planted.y[:50])
    assert_array_equal(concepts.codes["x"].toarray(), codes[0].toarray())
    assert_array_equal(concepts.codes["y"].toarray(), codes[1].toarray()[:40])
    assert concepts.directions["x"].shape == (codes[0].shape[1], 32)


@pytest.mark.parametrize("kind", [TopKSAE, PairedSAE])
def test_one_dictionary_has_the_same_directions_in_both_views(planted, kind):
    sae = kind(16, 4, max_iter=2, random_state=0).fit(planted.X, planted.y)
    concepts = paired_concepts(sae, planted.X[:9], planted.y[:7])
    x, y = (normalize(concepts.directions[name]) for name in "xy")
    assert_allclose(x, y, rtol=1e-5)  # each view has a scale of its own
    if kind is TopKSAE:
        expected = sae.transform(planted.y[:7]).toarray()
        assert_array_equal(concepts.codes["y"].toarray(), expected)
    assert not np.array_equal(
        concepts.codes["x"].toarray()[:7], concepts.codes["y"].toarray()
    )


@pytest.mark.parametrize("name", ["X", "y"])
def test_a_view_that_is_missing_is_named(planted, name):
    views = {"X": planted.X[:5], "y": planted.y[:5], name: None}
    with pytest.raises(ValueError, match=f"{name} is None, but the picture compares"):
        paired_concepts(planted.model, **views)


def test_other_estimators_are_refused(planted):
    with pytest.raises(TypeError, match="got StandardScaler"):
        paired_concepts(StandardScaler().fit(planted.X), planted.X, planted.y)
