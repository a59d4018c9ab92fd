"""Scorers of paired estimators, for cross-validation and grid search."""

from collections.abc import Mapping
from inspect import signature
from numbers import Integral

from sklearn.frozen import FrozenEstimator

# the private base, as ScoringMonitor and multi-metric scoring ask for it by type
from sklearn.metrics._scorer import _BaseScorer
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import check_paired_codes, keep_top_k
from skxsae.metrics._dictionary import check_directions, check_shared_concepts
from skxsae.metrics._ground_truth import feature_recovery_score
from skxsae.metrics._recall import DIRECTIONS, TIES
from skxsae.metrics._retrieval import rank_pairs, warn_if_repeated

_ROUTE_GROUPS = (
    "Pass groups, the item that each pair belongs to: "
    "sklearn.set_config(enable_metadata_routing=True), "
    "make_recall_scorer(...).set_score_request(groups=True), and "
    "params={'groups': groups}."
)


@validate_params(
    {
        "k": [Interval(Integral, 1, None, closed="left")],
        "direction": [StrOptions(set(DIRECTIONS))],
        "ties": [StrOptions(set(TIES))],
        "candidates": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def make_recall_scorer(*, k=10, direction="mean", ties="pessimistic", candidates=None):
    """Make a scorer of paired estimators from recall at k.

    The scorer encodes both views, ``estimator.transform(X, y)``, and scores the codes
    with :func:`recall_at_k_score`. A pipeline applies its first steps to `X` and its
    last step to both views.

    Parameters
    ----------
    k : int, default=10
        Number of answers that are looked at.

    direction : {"x_to_y", "y_to_x", "mean"}, default="mean"
        View of the queries and view of the answers; "mean" averages the two recalls.

    ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
        How ties are ranked, as in :func:`recall_at_k_score`.

    candidates : int, default=None
        If given, retrieve inside consecutive batches of this many pairs.

    Returns
    -------
    callable
        Scorer ``scorer(estimator, X, y, groups=None)``, higher is better.

    See Also
    --------
    recall_at_k_score : The score, and what `groups` mean.

    Notes
    -----
    Several captions per image need `groups` in the scorer as well as in the splitter.
    scikit-learn passes them where metadata routing is enabled and the scorer asks for
    them: ``make_recall_scorer().set_score_request(groups=True)``, and
    ``cross_validate(..., params={"groups": groups})``. The scorer warns if rows repeat
    and no groups arrive.

    Examples
    --------
    >>> from skxsae.metrics import make_recall_scorer
    >>> make_recall_scorer(k=5, direction="x_to_y")
    make_recall_scorer(k=5, direction='x_to_y')
    """
    return _RecallScorer(k=k, direction=direction, ties=ties, candidates=candidates)


@validate_params(
    {"k": [Interval(Integral, 1, None, closed="left"), None]},
    prefer_skip_nested_validation=True,
)
def make_feature_recovery_scorer(truth, *, k=None):
    """Make a scorer of paired estimators from the recovery of known features.

    The scorer gives the true directions of both views to the estimator as inputs,
    decodes their codes and scores the result with :func:`feature_recovery_score`. The
    data that it is called with play no part. A pipeline passes the directions of the
    first view through its first steps, and their reconstructions back.

    Parameters
    ----------
    truth : Bunch, mapping or object
        True directions ``x_features`` and ``y_features``, arrays of shape (n_concepts,
        n_features_x) and (n_concepts, n_features_y), as keys or attributes. Rows of
        zeros are concepts that are absent from a view; only those present in both
        count.

    k : int, default=None
        If given, keep only the k largest entries of each code before decoding. The
        published figures have ``k=1``.

    Returns
    -------
    callable
        Scorer ``scorer(estimator, X=None, y=None)``, higher is better.

    See Also
    --------
    feature_recovery_score : The score.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import make_feature_recovery_scorer
    >>> truth = {"x_features": np.eye(3), "y_features": np.eye(3)}
    >>> make_feature_recovery_scorer(truth, k=1)
    make_feature_recovery_scorer(<3 shared concepts>, k=1)
    """
    phi, psi = _truth_array(truth, "x_features"), _truth_array(truth, "y_features")
    shared = check_shared_concepts(phi, psi)
    return _FeatureRecoveryScorer(x_features=phi[shared], y_features=psi[shared], k=k)


class _RecallScorer(_BaseScorer):
    """Recall at k of the codes of both views."""

    def __init__(self, **options):
        super().__init__(_grouped_recall, 1, options, response_method="transform")

    def __call__(self, estimator, X, y, *, groups=None):
        """Recall of `estimator` on the pairs (X, y); groups need no routing here."""
        return self._score(None, estimator, X, y, groups=groups)

    def _score(self, method_caller, estimator, X, y, groups=None):
        """`__call__` in the form that multi-metric scoring uses."""
        estimator, front = last_step(estimator)
        codes = _transform_pair(estimator, pass_forward(front, X), y)
        if groups is None:
            warn_if_repeated(X, y, advice=_ROUTE_GROUPS)
        return self._score_func(*codes, groups=groups, **self._kwargs)

    def __repr__(self):
        options = self._kwargs
        shown = [f"k={options['k']}", f"direction={options['direction']!r}"]
        if options["ties"] != "pessimistic":
            shown.append(f"ties={options['ties']!r}")
        if options["candidates"] is not None:
            shown.append(f"candidates={options['candidates']}")
        return f"make_recall_scorer({', '.join(shown)})"


class _FeatureRecoveryScorer(_BaseScorer):
    """Recovery of the true directions of the concepts that both views share."""

    def __init__(self, **options):
        super().__init__(_feature_recovery, 1, options, response_method="transform")

    def __call__(self, estimator, X=None, y=None):
        """Recovery of the truth by `estimator`; the data play no part."""
        return self._score(None, estimator, X, y)

    def _score(self, method_caller, estimator, X, y):
        """`__call__` in the form that multi-metric scoring uses."""
        return self._score_func(estimator, **self._kwargs)

    def __repr__(self):
        n_shared, k = len(self._kwargs["x_features"]), self._kwargs["k"]
        return f"make_feature_recovery_scorer(<{n_shared} shared concepts>, k={k})"


def _grouped_recall(X, y, *, groups=None, **options):
    """Recall of codes; scikit-learn reads the metadata from this signature."""
    X, y = check_paired_codes(X, y)
    ranks = rank_pairs(X, y, groups, options["candidates"])
    return ranks.recall(
        options["k"], direction=options["direction"], ties=options["ties"]
    )


def _feature_recovery(estimator, **options):
    """Recovery of the true directions by a paired estimator."""
    phi, psi, k = options["x_features"], options["y_features"], options["k"]
    estimator, front = last_step(estimator)
    codes = _transform_pair(estimator, pass_forward(front, phi), psi)
    if k is not None:
        codes = [keep_top_k(view, k) for view in codes]
    phi_hat, psi_hat = estimator.inverse_transform(*codes)
    return feature_recovery_score(phi, pass_backward(front, phi_hat), psi, psi_hat)


def last_step(estimator):
    """The paired estimator, and the fitted steps that come before it."""
    front = []
    while True:
        if isinstance(estimator, Pipeline):
            steps = [step for _, step in estimator.steps]
            front += [s for s in steps[:-1] if s is not None and s != "passthrough"]
            estimator = steps[-1]
        elif isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator, front


def pass_forward(front, X):
    """The first view as the paired estimator sees it."""
    for step in front:
        X = step.transform(X)
    return X


def pass_backward(front, X_hat):
    """Reconstructions of the first view in the space of its inputs."""
    for step in reversed(front):
        if not hasattr(step, "inverse_transform"):
            raise TypeError(
                f"The pipeline step {step} has no inverse_transform, so that "
                "reconstructions cannot be compared with the true directions. Score "
                "the last step alone, or use the normalize option of that estimator."
            )
        X_hat = step.inverse_transform(X_hat)
    return X_hat


def _transform_pair(estimator, X, y):
    """Codes of both views."""
    name = type(estimator).__name__
    transform = getattr(estimator, "transform", None)
    if transform is None or len(signature(transform).parameters) < 2:
        raise TypeError(
            f"{name} has no transform(X, y): this scorer needs an estimator that "
            "encodes both views, such as PostHocAlignedSAE or PairedSAE, alone or as "
            "the last step of a pipeline."
        )
    if y is None:
        raise ValueError("y is None: this scorer needs the second view as y.")
    codes = transform(X, y)
    if not isinstance(codes, tuple) or len(codes) != 2:
        raise TypeError(
            f"{name}.transform(X, y) returned {type(codes).__name__}: this scorer "
            "needs the pair (codes of X, codes of y)."
        )
    return codes


def _truth_array(truth, name):
    """True directions of one view, from a key or an attribute."""
    if isinstance(truth, Mapping):
        features = truth.get(name)
    else:
        features = getattr(truth, name, None)
    if features is None:
        raise ValueError(
            f"truth has no {name}: give a Bunch, mapping or object with x_features and "
            "y_features, arrays of shape (n_concepts, n_features)."
        )
    return check_directions(features, name)
