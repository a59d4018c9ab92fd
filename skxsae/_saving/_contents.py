"""What each class holds once it is fitted, and whether that fits together."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from sklearn.frozen import FrozenEstimator

from skxsae._activations import ACTIVATIONS
from skxsae._coactivation import Coactivation, Marginals
from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._couplings import COUPLINGS
from skxsae._paired_sae import PairedSAE
from skxsae._post_hoc_aligned_sae import PostHocAlignedSAE
from skxsae._saving._checks import (
    array,
    csr,
    either,
    finite,
    flag,
    instance,
    integer,
    none,
    one_of,
    real,
    reals,
    size,
    strings,
    table,
)
from skxsae._topk_sae import TopKSAE
from skxsae._translation import Translation
from skxsae.baselines import SparseBaseline
from skxsae.interventions import ModalityFilter, ModalityGapRemover
from skxsae.search import ConceptIndex

_WITH_THRESHOLD = {"batch_topk", "jumprelu"}


@dataclass
class Contents:
    """Checks of what an object holds, by name.

    All of `fitted` are there, or nothing is. `together` checks that they agree. What
    is `derived` from them is not saved.
    """

    fitted: dict
    others: dict = field(default_factory=dict)
    together: Callable = lambda thing: None
    derived: dict = field(default_factory=dict)


# known before anything is learnt
_OF_INPUT = {"n_features_in_", "feature_names_in_", "_n_features_of_y"}
_INPUT = {"n_features_in_": size("features")}
_NAMES = {"feature_names_in_": strings("features")}
_AUTOENCODER = {
    **_INPUT,
    "n_latents_": size("latents"),
    "k_": integer(1),
    "components_": array("f", "latents", "features"),
    "encoder_": array("f", "latents", "features"),
    "encoder_bias_": array("f", "latents"),
    "mean_": array("f", "features"),
    "offset_": array("f", "features"),
    "scale_": either(array("f"), array("f", "features")),
    "unit_length_": flag,
    "firing_rate_": array("f", "latents", finite=False),
    "dead_latents_": array("b", "latents"),
    "n_iter_": integer(0),
    "reconstruction_err_": real,
}


def _check_autoencoder(sae):
    """What encoding would trip over."""
    needs_threshold = sae.activation_ in _WITH_THRESHOLD
    if needs_threshold != hasattr(sae, "threshold_"):
        there = "lacks" if needs_threshold else "has"
        raise ValueError(f"{there} threshold_ with activation_={sae.activation_!r}")
    if sae.k_ > sae.n_latents_:
        raise ValueError(f"has k_={sae.k_} of {sae.n_latents_} latents")
    if not (sae.scale_ > 0).all():
        raise ValueError("has a scale_ that is not positive")
    translation = getattr(sae, "translation_", None)
    if translation is not None:
        _check_translation(translation, sae.n_latents_, sae.n_latents_)


def _check_translation(translation, n_source, n_target):
    """A translation between two numbers of latents."""
    shape = len(translation.source), len(translation.target)
    if shape != (n_source, n_target):
        raise ValueError(
            f"has a translation of {shape[0]} to {shape[1]} latents, not of {n_source} "
            f"to {n_target}"
        )


def _check_pair(sae):
    """Two views over the same latents."""
    x, y = sae.x_sae_, sae.y_sae_
    if x.n_latents_ != y.n_latents_:
        raise ValueError(f"has {x.n_latents_} and {y.n_latents_} latents in its views")
    if sae.n_features_in_ != x.n_features_in_:
        raise ValueError(
            f"has n_features_in_={sae.n_features_in_} and an x_sae_ of "
            f"{x.n_features_in_}"
        )


def _check_paired_sae(sae):
    """Two views over the same latents, of the widths that are told."""
    _check_pair(sae)
    if sae._n_features_of_y != sae.y_sae_.n_features_in_:
        raise ValueError(
            f"has _n_features_of_y={sae._n_features_of_y} and a y_sae_ of "
            f"{sae.y_sae_.n_features_in_}"
        )


def _check_matcher(matcher):
    """A matching of latents that are there, each at most once."""
    matched = matcher.matching_[matcher.matching_ >= 0]
    n_latents = matcher.n_features_in_
    both = np.sort(np.append(matched, matcher.unmatched_))
    once = len(both) == n_latents and np.array_equal(both, np.arange(n_latents))
    if not once or (matcher.matching_ < -1).any():
        raise ValueError(
            f"does not have each of {n_latents} latents once in matching_ and "
            "unmatched_"
        )
    n_reference = len(matcher.matching_)
    soft = [hasattr(matcher, f"{view}translation_") for view in ("", "reference_")]
    if soft != [matcher.assignment == "soft"] * 2:
        raise ValueError(f"has other translations than {matcher.assignment!r} has")
    if all(soft):
        _check_translation(matcher.translation_, n_latents, n_reference)
        _check_translation(matcher.reference_translation_, n_reference, n_latents)


def _check_post_hoc(sae):
    """Two views whose columns are those of the matching, and its table."""
    _check_pair(sae)
    matcher, matches = sae.matcher_, sae.matches_
    order = sae._order_of_y()
    if not len(order) == sae.n_aligned_ == sae.x_sae_.n_latents_:
        raise ValueError(
            f"has n_aligned_={sae.n_aligned_}, views of {sae.x_sae_.n_latents_} "
            f"latents, and a matcher_ of {len(order)}"
        )
    matched = np.flatnonzero(matcher.matching_ >= 0)
    columns = {
        "x_latent": matched,
        "y_latent": matcher.matching_[matched],
        matcher.metric: matcher.scores_[matched],
    }
    for name, expected in columns.items():
        if name not in matches or not np.array_equal(matches[name], expected):
            raise ValueError(f"has another {name} in matches_ than in matcher_")
    if not {"margin", "above_noise"} <= set(matches):
        raise ValueError("lacks margin or above_noise in matches_")
    soft = matcher.assignment == "soft"
    for view in (sae.x_sae_, sae.y_sae_):
        if hasattr(view, "translation_") != soft:
            raise ValueError(
                f"has assignment={matcher.assignment!r} in matcher_, "
                "which its views do not agree with"
            )


def _check_sums(sums):
    """Sums of two views over the same samples."""
    widths = len(sums.x.fires), len(sums.y.fires)
    if sums.cross.shape != widths:
        raise ValueError(
            f"has sums of {widths} latents and cross of {sums.cross.shape}"
        )
    if sums.x.n_samples != sums.y.n_samples:
        raise ValueError("has sums over different numbers of samples")


def _check_index(index):
    """Items that are as many as told."""
    if index._items.shape[0] != index.n_items_:
        raise ValueError(f"has n_items_={index.n_items_} for {index._items.shape[0]}")


def _check_frozen(frozen):
    """One of these estimators, frozen."""
    instance(*ESTIMATORS)(frozen.estimator, {})


def _fitted(cls):
    """A fitted estimator of a class, which was checked on its own."""

    def check(value, sizes):
        instance(cls)(value, sizes)
        # one of a derived class is refused when it is encoded
        if type(value) in ESTIMATORS and not learnt_by(value):
            raise ValueError("is not fitted")

    return check


_OF_ONE_VIEW = {**_NAMES, "translation_": instance(Translation)}

ESTIMATORS: dict[type, Contents] = {
    TopKSAE: Contents(
        {**_AUTOENCODER, "activation_": one_of(ACTIVATIONS), "loss_curve_": reals},
        {**_OF_ONE_VIEW, "threshold_": either(finite, array("f", "latents"))},
        _check_autoencoder,
    ),
    SparseBaseline: Contents(_AUTOENCODER, _OF_ONE_VIEW, _check_autoencoder),
    PairedSAE: Contents(
        {
            **_INPUT,
            "_n_features_of_y": integer(1),
            "coupling_": one_of(COUPLINGS),
            "x_sae_": _fitted(TopKSAE),
            "y_sae_": _fitted(TopKSAE),
            "n_iter_": integer(0),
            "loss_curve_": reals,
        },
        _NAMES,
        _check_paired_sae,
    ),
    PostHocAlignedSAE: Contents(
        {
            **_INPUT,
            "x_sae_": _fitted(TopKSAE),
            "y_sae_": _fitted(TopKSAE),
            "matcher_": _fitted(CoactivationMatcher),
            "matches_": table,
            "n_aligned_": integer(1),
            "n_iter_": integer(0),
        },
        _NAMES,
        _check_post_hoc,
    ),
    CoactivationMatcher: Contents(
        {
            **_INPUT,
            "matching_": array("i", "reference"),
            "scores_": array("f", "reference", finite=False),
            "margins_": array("f", "reference", finite=False),
            "mutual_": array("b", "reference"),
            "min_score_": real,
            "gap_": real,
            "noise_floor_": real,
            "null_scores_": array("f", "null"),
            "n_null_": integer(0),
            "share_without_partner_": real,
            "above_noise_": array("b", "reference"),
            "false_match_share_": array("f", "reference", finite=False),
            "score_intervals_": array("f", "reference", 2, finite=False),
            "unmatched_": array("i", "unmatched"),
        },
        {
            **_NAMES,
            "translation_": instance(Translation),
            "reference_translation_": instance(Translation),
        },
        _check_matcher,
    ),
    ModalityFilter: Contents(
        {
            **_INPUT,
            "modality_scores_": array("f", "features", finite=False),
            "support_": array("b", "features"),
        },
        _NAMES,
    ),
    ModalityGapRemover: Contents(
        {
            **_INPUT,
            "x_mean_": array("f", "features"),
            "y_mean_": array("f", "y_features"),
            "x_directions_": array("f", "x_directions", "features"),
            "y_directions_": array("f", "y_directions", "y_features"),
            "x_offset_": array("f", "features"),
            "y_offset_": array("f", "y_features"),
            "y_feature_names_in_": either(none, strings("y_features")),
        },
        _NAMES,
    ),
    ConceptIndex: Contents(
        {
            **_INPUT,
            "n_items_": integer(1),
            "names_": strings("features"),
            "_items": csr("items", "features"),
        },
        _NAMES,
        _check_index,
        {"_items_by_concept": lambda index: sparse.csr_array(index._items.T)},
    ),
    FrozenEstimator: Contents({}, {}, _check_frozen),
}

RECORDS: dict[type, Contents] = {
    Translation: Contents(
        {
            "source": array("f", "source", "rank"),
            "target": array("f", "target", "rank"),
            "n_active": integer(1),
            "weight": finite,
        },
    ),
    Marginals: Contents(
        {
            "n_samples": integer(0),
            "fires": array("i", "latents"),
            "total": array("f", "latents"),
            "square": array("f", "latents"),
        }
    ),
    Coactivation: Contents(
        {
            "x": instance(Marginals),
            "y": instance(Marginals),
            "cross": csr("x", "y"),
        },
        together=_check_sums,
    ),
}


def learnt_by(estimator):
    """Attributes that are saved: none if it knows no more than its input."""
    contents = ESTIMATORS[type(estimator)]
    learnt = {
        name: value
        for name, value in vars(estimator).items()
        if name in contents.fitted or name in contents.others
    }
    return learnt if set(learnt) - _OF_INPUT else {}


def check_contents(thing, attributes):
    """Refuse attributes of an estimator, or a record, that do not fit together."""
    name, contents = type(thing).__name__, {**ESTIMATORS, **RECORDS}[type(thing)]
    if attributes and (absent := set(contents.fitted).difference(attributes)):
        raise ValueError(f"{name} lacks {min(absent)}")
    sizes: dict = {}
    for attribute, check in {**contents.fitted, **contents.others}.items():
        if attribute in attributes:
            with _named(f"{name}.{attribute}"):
                check(attributes[attribute], sizes)
    if type(thing) in ESTIMATORS and type(thing) is not FrozenEstimator:
        thing._validate_params()
    if attributes or not contents.fitted:
        with _named(name):
            contents.together(thing)


@contextmanager
def _named(name):
    """Errors that begin with a name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
