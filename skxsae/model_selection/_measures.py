"""What is measured of an estimator on held-out pairs, as sums over groups.

Every measure is a function of sums over groups of pairs, so that whole groups can be
drawn with replacement at the cost of a product.
"""

from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import has_fit_parameter

from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._quiet import quiet
from skxsae.metrics._codes import check_paired_codes, row_batches
from skxsae.metrics._reconstruction import column_means
from skxsae.metrics._retrieval import rank_pairs
from skxsae.metrics._scorers import last_step, pass_backward, pass_forward

_ROWS_PER_BATCH = 4096


class Measure(NamedTuple):
    """Sums over each group, and what is made of their total; sums of None are fixed."""

    sums: Any  # (n_groups, n_terms), dense or CSR, or None
    value: Any  # function of (n_resamples, n_terms), or a number

    def of_all(self):
        """The measure of all groups."""
        if self.sums is None:
            return float(self.value)
        return float(self.of_drawn(np.ones((1, self.sums.shape[0])))[0])

    def of_drawn(self, counts):
        """The measure of groups that are drawn so many times: (n_resamples,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.value(np.asarray(counts @ self.sums))


def encodes_pairs(estimator):
    """Whether an estimator takes both views at once; any other takes rows of either."""
    last, _ = last_step(estimator)
    return "y" in signature(last.transform).parameters


def check_encoder(estimator, X, y, name):
    """Refuse what cannot be fitted on the pairs and measured."""
    last, _ = last_step(estimator)
    if not (hasattr(last, "transform") and hasattr(last, "inverse_transform")):
        raise TypeError(
            f"{name!r} is a {type(last).__name__}, which must have transform and "
            "inverse_transform: give an autoencoder, or a pipeline that ends in one."
        )
    if not encodes_pairs(estimator) and np.shape(X)[1] != np.shape(y)[1]:
        raise ValueError(
            f"X has {np.shape(X)[1]} features and y has {np.shape(y)[1]}, but "
            f"{type(last).__name__} encodes one row at a time and so needs a "
            "joint space. Use PostHocAlignedSAE for views of any widths."
        )


def fit_pairs(estimator, X, y, groups):
    """A fitted clone; one frozen stays as it is, one of rows learns from both views."""
    if isinstance(estimator, FrozenEstimator):
        return estimator.fit(X, y)
    estimator = clone(estimator)
    if encodes_pairs(estimator):
        if groups is not None and has_fit_parameter(estimator, "groups"):
            return estimator.fit(X, y, groups=groups)
        return estimator.fit(X, y)
    return estimator.fit(_stacked(X, y))


def _stacked(X, y):
    """Rows of both views; a table if both are tables with the same columns."""
    if hasattr(X, "columns") and hasattr(y, "columns") and list(X) == list(y):
        return pd.concat([X, y], ignore_index=True)
    return np.vstack([X, y])


def encode_pairs(estimator, X, y):
    """Codes of both views over the same columns."""
    last, front = last_step(estimator)
    if encodes_pairs(estimator):
        codes = last.transform(pass_forward(front, X), y)
    else:
        named = hasattr(estimator, "feature_names_in_")
        codes = [estimator.transform(v if named else np.asarray(v)) for v in (X, y)]
    return check_paired_codes(*codes)


def _rebuild(estimator, codes):
    """Reconstructions of both views, in the units of the input."""
    last, front = last_step(estimator)
    if encodes_pairs(estimator):
        X_hat, y_hat = last.inverse_transform(*codes)
        return pass_backward(front, X_hat), y_hat
    return tuple(estimator.inverse_transform(view) for view in codes)


def measure(estimator, X, y, groups, *, k, tau, above_noise):
    """Measures of a fitted estimator on held-out pairs, by name."""
    codes = encode_pairs(estimator, X, y)
    views = np.asarray(X), np.asarray(y)
    n_groups = groups.max() + 1
    measures = {}
    errors = _squared_errors(estimator, views, codes)
    for name, view, error in zip("xy", views, errors, strict=True):
        mean = column_means(view)
        terms = [error, _squared_distances(view, mean), np.ones(len(view))]
        sums = _sum_by_group(np.column_stack(terms), groups, n_groups)
        rounding = (np.finfo(np.float64).eps * np.linalg.norm(mean)) ** 2
        explained = partial(_explained, rounding=rounding)
        measures[f"explained_variance_{name}"] = Measure(sums, explained)
    for name, view in zip("xy", codes, strict=True):
        n_active = np.asarray((view != 0).sum(axis=1)).ravel()
        sums = _mean_terms(n_active, groups, n_groups)
        measures[f"l0_{name}"] = Measure(sums, _ratio)
    for name, view in zip("xy", codes, strict=True):
        measures[f"dead_{name}"] = Measure(None, _dead_share(estimator, name, view))
    ranks = rank_pairs(codes[0], codes[1], groups)
    for direction in ("x_to_y", "y_to_x"):
        one_way = getattr(ranks, direction)
        for n in k:
            sums = _mean_terms(one_way.hits(n), groups[one_way.queries], n_groups)
            measures[f"recall@{n}_{direction}"] = Measure(sums, _ratio)
    energies = sparse.hstack(
        [
            sparse.csr_array(_sum_by_group(_squares(view), groups, n_groups))
            for view in codes
        ],
        format="csr",
    )
    measures["bimodal_energy"] = Measure(energies, partial(_bimodal_share, tau=tau))
    measures["matches_above_noise"] = Measure(None, above_noise)
    return measures


def share_above_noise(estimator, X, y, groups, random_state):
    """Share of the matches that beat those of re-paired samples.

    An estimator that does not match is treated as if it did: its latents of the two
    views are matched by their codes.
    """
    last, _ = last_step(estimator)
    if hasattr(last, "matches_"):
        if np.isnan(last.matcher_.noise_floor_):  # matched without a null
            return np.nan
        above = last.matches_["above_noise"].to_numpy()
    else:
        codes_x, codes_y = encode_pairs(estimator, X, y)
        matcher = CoactivationMatcher(random_state=random_state)
        # what they say is what is returned here
        with quiet("Only .* matches score above", "Nothing is matched"):
            matcher.fit(codes_y, codes_x, groups=groups)
        above = matcher.above_noise_[matcher.matching_ >= 0]
    return float(above.mean()) if len(above) else np.nan


def _squared_errors(estimator, views, codes):
    """Squared error of the reconstruction of each row of each view."""
    errors = np.empty((2, codes[0].shape[0]))
    for rows in row_batches(codes[0].shape[0], _ROWS_PER_BATCH):
        rebuilt = _rebuild(estimator, [view[rows] for view in codes])
        for number, (view, view_hat) in enumerate(zip(views, rebuilt, strict=True)):
            residual = np.asarray(view[rows], dtype=np.float64) - view_hat
            errors[number, rows] = np.einsum("ij,ij->i", residual, residual)
    return errors


def _squared_distances(view, mean):
    """Squared distance of each row to a point."""
    blocks = row_batches(len(view), _ROWS_PER_BATCH)
    return np.concatenate(
        [np.sum((view[rows] - mean) ** 2, axis=1, dtype=np.float64) for rows in blocks]
    )


def _squares(codes):
    """Squared activations in float64."""
    codes = codes.astype(np.float64)
    return codes.multiply(codes) if sparse.issparse(codes) else codes**2


def _sum_by_group(terms, groups, n_groups):
    """Sums of the rows of each group."""
    shape = (n_groups, len(groups))
    member = sparse.csr_array(
        (np.ones(len(groups)), (groups, np.arange(len(groups)))), shape
    )
    return member @ terms


def _mean_terms(values, groups, n_groups):
    """Sum and number of the values of each group."""
    terms = np.column_stack([values, np.ones(len(values))])
    return _sum_by_group(terms, groups, n_groups)


def _ratio(sums):
    """First sum over the second."""
    return sums[:, 0] / sums[:, 1]


def _explained(sums, rounding):
    """Explained variance from errors, squared distances and numbers of rows.

    Rows that do not vary but for rounding are explained, but for rounding, or not.
    """
    error, variance, n_rows = sums.T
    unexplained = (error > n_rows * rounding).astype(np.float64)
    varies = variance > n_rows * rounding
    np.divide(error, variance, out=unexplained, where=varies)
    return 1 - unexplained


def _bimodal_share(sums, tau):
    """Share of the energy of latents that are active in both views."""
    of_x, of_y = np.split(sums, 2, axis=1)
    total = of_x + of_y
    score = of_x / total
    is_bimodal = (score >= tau) & (score <= 1 - tau)
    return np.sum(total * is_bimodal, axis=1) / total.sum(axis=1)


def _dead_share(estimator, name, codes):
    """Share of the latents of a view that are active on no row."""
    fires = np.asarray((codes != 0).sum(axis=0)).ravel() > 0
    last, _ = last_step(estimator)
    sae = getattr(last, f"{name}_sae_", last)
    components = getattr(sae, "components_", None)
    if components is None or len(components) != len(fires):
        return 1 - fires.mean()
    # a latent that the view lacks is not dead; it may be active by translation
    present = components.any(axis=1)
    return 1 - fires[present].mean() if present.any() else np.nan
