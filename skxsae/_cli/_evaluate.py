"""A row of the table: one method on the held-out pairs."""

import numpy as np
from scipy.special import gammaln

from skxsae._cli._data import take
from skxsae.metrics import (
    feature_alignment_error,
    feature_collapse_rate,
    feature_recovery_error,
    keep_top_k,
    latent_alignment_error,
    retrieval_ranks,
)

RECALL_AT = (1, 5, 10)
DIRECTIONS = ("x_to_y", "y_to_x")


def evaluate(name, fit, pairs, separate_saes):
    """Every number of one row, None where the method has no such number."""
    x_rows, x_row_of_pair = pairs.x_rows_of(pairs.test)
    X, y = take(pairs.X, x_rows), take(pairs.y, pairs.test)
    codes_x, codes_y = fit.encode_x(X)[x_row_of_pair], fit.encode_y(y)
    is_model = bool(fit.models)
    row = {
        "method": name,
        "explained_variance_x": fit.x_sae.score(X) if is_model else None,
        "explained_variance_y": fit.y_sae.score(y) if is_model else None,
        **_recalls(codes_x, codes_y, pairs.groups[pairs.test]),
        "n_latents": fit.n_latents,
        "n_dead": fit.n_dead,
        "n_matched": fit.n_matched,
        "n_above_noise": fit.n_above_noise,
        "seconds": fit.seconds,
    }
    if pairs.truth is not None and is_model:
        as_trained = separate_saes if name in ("post_hoc", "soft") else None
        row |= _recovery(fit, pairs.truth, as_trained, is_soft=name == "soft")
        row["latent_alignment_error"] = latent_alignment_error(codes_x, codes_y)
    return row


def _recalls(codes_x, codes_y, groups):
    """Recall at each k in both directions."""
    ranks = retrieval_ranks(codes_x, codes_y, groups=groups)
    return {
        f"recall_{direction}": {
            str(k): ranks.recall(k, direction=direction) for k in RECALL_AT
        }
        for direction in DIRECTIONS
    }


def _recovery(fit, truth, as_trained, is_soft):
    """Errors against the true directions, with one active latent as the authors do."""
    phi, psi = truth.x_features[truth.shared], truth.y_features[truth.shared]
    # a permutation must not pass for the collapse of two directions into one latent,
    # and the strongest latent of a soft code is of the other view
    x_sae, y_sae = as_trained or (fit.x_sae, fit.y_sae)
    own_x = keep_top_k(x_sae.transform(phi), 1)
    own_y = keep_top_k(y_sae.transform(psi), 1)
    aligned = [
        keep_top_k(sae.transform(rows), 1)
        for sae, rows in ((fit.x_sae, phi), (fit.y_sae, psi))
    ]
    return {
        "feature_recovery_error": feature_recovery_error(
            phi, x_sae.inverse_transform(own_x), psi, y_sae.inverse_transform(own_y)
        ),
        "feature_alignment_error": None
        if is_soft
        else feature_alignment_error(*aligned),
        "feature_collapse_rate": feature_collapse_rate(
            x_sae.components_, y_sae.components_, phi, psi
        ),
    }


def chance_recalls(pairs):
    """Expected recall of a random order, in the form of a row."""
    groups = pairs.groups[pairs.test]
    x_rows, x_row_of_pair = pairs.x_rows_of(pairs.test)
    _, group_of_pair = np.unique(groups, return_inverse=True)
    texts = np.bincount(group_of_pair)
    group_of_x = np.empty(len(x_rows), dtype=np.intp)
    group_of_x[x_row_of_pair] = group_of_pair
    pictures = np.bincount(group_of_x)
    return {
        "recall_x_to_y": _chance(texts[group_of_x], len(groups)),
        "recall_y_to_x": _chance(pictures[group_of_pair], len(x_rows)),
    }


def _chance(n_true, n_gallery):
    """Mean chance that one of `n_true` answers is among k drawn from the gallery."""
    return {
        str(k): float(np.mean(1 - np.exp(_log_miss(n_true, n_gallery, k))))
        for k in RECALL_AT
    }


def _log_miss(n_true, n_gallery, k):
    """Logarithm of choose(n_gallery - n_true, k) / choose(n_gallery, k)."""
    n_wrong = n_gallery - n_true
    with np.errstate(invalid="ignore"):
        log_miss = (
            gammaln(n_wrong + 1)
            - gammaln(n_wrong - k + 1)
            - gammaln(n_gallery + 1)
            + gammaln(n_gallery - k + 1)
        )
    return np.where(n_wrong < k, -np.inf, log_miss)
