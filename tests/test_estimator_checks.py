"""scikit-learn's own checks in full: nothing skipped, nothing expected to fail."""

from unittest import SkipTest

import numpy as np
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

import skxsae
from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE

# true of the data of the checks: a y of one column, and next to no firings
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        "A column-vector y was passed when a 2d array was expected",
        "Nothing is matched",
        "Only . of . matches score above the noise floor",
    )
]


class WideningPairedSAE(PairedSAE):
    """PairedSAE for a y of one column, which is repeated to the width of X."""

    def fit(self, X, y):
        return super().fit(X, _widened(X, y))

    def partial_fit(self, X, y):
        return super().partial_fit(X, _widened(X, y))

    def transform(self, X, y=None):
        return super().transform(X, _widened(X, y))

    def score(self, X, y):
        return super().score(X, _widened(X, y))


class LenientPostHocAlignedSAE(PostHocAlignedSAE):
    """PostHocAlignedSAE whose shorthands the checks may set beside explicit views."""

    def _check_shorthands(self):
        pass


def _widened(X, y):
    """y as it is, unless it has one column: then as wide as X."""
    if y is None:
        return None
    # the checks pass objects that are no arrays but can be made one
    y, shape = np.asarray(y), np.asarray(X).shape
    if len(shape) < 2 or y.size != len(y):
        return y
    return np.repeat(y.reshape(-1, 1), shape[1], axis=1)


def _estimators():
    """Every public estimator, with either kind of codes and either activation."""
    yield from (CoactivationMatcher(n_null=n_null) for n_null in ("auto", 0))
    soft = CoactivationMatcher(assignment="soft")
    yield soft
    for sparse_output in (True, False):
        options = {"max_iter": 2, "sparse_output": sparse_output}
        for activation in ("topk", "batch_topk"):
            yield TopKSAE(activation=activation, **options)
            yield WideningPairedSAE(activation=activation, **options)
            sae = TopKSAE(activation=activation, max_iter=2)
            yield LenientPostHocAlignedSAE(x_sae=sae, y_sae=sae, **options)
        for activation in ("relu", "jumprelu", "matching_pursuit"):
            yield TopKSAE(activation=activation, **options)
        yield TopKSAE(transform_algorithm="omp", precision="screen", **options)
        yield WideningPairedSAE(coupling="cross_reconstruction", **options)
        yield PostHocAlignedSAE(**options)
        yield PostHocAlignedSAE(matcher=soft, **options)


def _identifier(estimator, check):
    """Name of a test, on one line."""
    return f"{' '.join(str(estimator).split())}-{check.func.__name__}"


ESTIMATORS = list(_estimators())
CHECKS = [
    pytest.param(estimator, check, id=_identifier(estimator, check))
    for each in ESTIMATORS
    for estimator, check in estimator_checks_generator(each)
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_estimator_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


def test_every_public_estimator_is_checked():
    checked = {cls for each in ESTIMATORS for cls in type(each).__mro__}
    public = {getattr(skxsae, name) for name in skxsae.__all__}
    estimators = {cls for cls in public if hasattr(cls, "fit")}
    assert estimators == {TopKSAE, PairedSAE, PostHocAlignedSAE, CoactivationMatcher}
    assert estimators <= checked


def test_scikit_learn_offers_its_checks():
    checks = [check for _, check in (param.values for param in CHECKS)]
    assert len(checks) > 45 * len(ESTIMATORS)
    assert "check_array_api_input" in {check.func.__name__ for check in checks}
