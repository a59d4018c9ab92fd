"""Matches of latents, and what a matcher does with codes and directions."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from skxsae._validation import FLOATS, check_finite


@dataclass(frozen=True)
class Matches:
    """Matched latents of both views, with a score and a margin each."""

    x_latents: np.ndarray
    y_latents: np.ndarray
    scores: np.ndarray
    margins: np.ndarray
    gap: float

    def above(self, min_score):
        """The matches that score no lower."""
        kept = ~(self.scores < min_score)
        return Matches(
            self.x_latents[kept],
            self.y_latents[kept],
            self.scores[kept],
            self.margins[kept],
            self.gap,
        )


def margins(scores, matched, partners):
    """Lead of each match over the runner-up of either latent, NaN if there is none."""
    runner_up = np.full(len(scores), -np.inf)
    for own, other, known in zip(matched, matched[::-1], partners, strict=True):
        best, second = known.scores[own, 0], known.scores[own, 1]
        is_best = known.latents[own, 0] == other
        np.maximum(runner_up, np.where(is_best, second, best), out=runner_up)
    runner_up[np.isneginf(runner_up)] = np.nan
    return scores - runner_up


def firings(codes):
    """Codes of 1 where a latent is active."""
    ones = (codes.data != 0).astype(codes.dtype)
    return sparse.csr_array((ones, codes.indices, codes.indptr), codes.shape)


def check_directions(directions, n_x, n_y):
    """Decoder rows of both views, for latents that the codes have and in one space."""
    if directions is None:
        raise ValueError(
            "metric='decoder_cosine' requires directions: pass the decoder rows of X "
            "and of y, such as directions=(x_sae.components_, y_sae.components_)."
        )
    x, y_rows = (check_array(part, dtype=FLOATS) for part in directions)
    if (len(x), len(y_rows)) != (n_x, n_y):
        raise ValueError(
            f"directions has {len(x)} and {len(y_rows)} rows, but X has {n_x} latents "
            f"and y has {n_y}: give one row per latent."
        )
    if x.shape[1] != y_rows.shape[1]:
        raise ValueError(
            f"directions are {x.shape[1]} and {y_rows.shape[1]} wide, but only those "
            "of one space can be compared: use a metric of the codes, such as "
            "metric='correlation'."
        )
    return x, y_rows


def check_finite_codes(codes, name):
    """Raise a ValueError that names the first row with a NaN or an infinity."""
    if not sparse.issparse(codes):
        check_finite(codes, name)
        return
    wrong = np.flatnonzero(~np.isfinite(codes.data))
    if len(wrong):
        row = np.searchsorted(codes.indptr, wrong[0], side="right") - 1
        kind = "NaN" if np.isnan(codes.data[wrong[0]]) else "infinity"
        raise ValueError(f"Input {name} contains {kind} in row {row}. Drop such rows.")


def relabelled(X, matching):
    """CSR codes with latent ``matching[j]`` in column j and the others left out."""
    matched = np.flatnonzero(matching >= 0)
    column = np.full(X.shape[1], -1, dtype=X.indices.dtype)
    column[matching[matched]] = matched
    columns = column[X.indices]
    kept = columns >= 0
    indptr = np.concatenate([[0], np.cumsum(kept)])[X.indptr].astype(X.indptr.dtype)
    codes = sparse.csr_array(
        (X.data[kept], columns[kept], indptr), shape=(X.shape[0], len(matching))
    )
    codes.sort_indices()
    return codes
