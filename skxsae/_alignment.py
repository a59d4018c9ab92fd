"""Pieces of an alignment: distinct rows, the table of matches, column orders."""

import numpy as np
import pandas as pd
from scipy import sparse

from skxsae._disk_array import DiskArray
from skxsae._distributed import peers
from skxsae._pair_sums import parts_of
from skxsae._validation import distinct_rows
from skxsae._views import is_streamed

_BY_LATENT = (
    "components_",
    "encoder_",
    "encoder_bias_",
    "firing_rate_",
    "threshold_",
)


class DistinctRows:
    """The distinct rows `X` of a view's groups; ``X[inverse]`` are all its rows."""

    def __init__(self, X, groups):
        self.X, self.inverse = X, slice(None)
        self.n_rows, self.block_rows = X.shape[0], getattr(X, "block_rows", None)
        if groups is not None:
            rows, inverse = distinct_rows(X, groups, peers())
            if len(rows) < X.shape[0]:
                self.X, self.inverse = _selected(X, rows), inverse

    def codes(self, sae, device):
        """Codes of all rows by an autoencoder of this view."""
        return sae._own_codes(self.X, device)[self.inverse]

    def codes_of(self, rows, sae, device):
        """Codes of some rows, each distinct one encoded once."""
        if len(rows) == 0:
            return sparse.csr_array((0, sae.n_latents_), dtype=sae.components_.dtype)
        if isinstance(self.inverse, slice):
            return sae._own_codes(_selected(self.X, rows), device)
        distinct, inverse = np.unique(self.inverse[rows], return_inverse=True)
        return sae._own_codes(_selected(self.X, distinct), device)[inverse]


def _selected(X, rows):
    """Rows of an array, left on disk if that is where they are."""
    return X.select(rows) if isinstance(X, DiskArray) else X[rows]


def adds_up(arrays):
    """Whether views are matched from sums, as no process has the codes of all pairs."""
    return peers().size > 1 or any(map(is_streamed, arrays))


def fit_from_sums(matcher, saes, views, groups, directions, device, seed):
    """Fit a matcher on pairs of rows that are encoded part by part."""
    n_pairs, group = views[0].n_rows, peers()
    rng = np.random.default_rng([seed, group.rank])
    block_rows = max(view.block_rows or 0 for view in views)

    def parts():
        for rows in parts_of(group.share(n_pairs), rng, block_rows):
            codes = (
                view.codes_of(rows, sae, device)
                for view, sae in zip(views, saes, strict=True)
            )
            yield rows, *codes, None if groups is None else groups[rows]

    shape = [sae.n_latents_ for sae in saes]
    matcher._fit_parts(parts(), n_pairs, shape, group, directions)


def match_table(matcher, x_sae, y_sae):
    """Table of the matches of two autoencoders in their own order."""
    x_latents = np.flatnonzero(matcher.matching_ >= 0)
    y_latents = matcher.matching_[x_latents]
    intervals = matcher.score_intervals_[x_latents]
    return pd.DataFrame(
        {
            "x_latent": x_latents,
            "y_latent": y_latents,
            matcher.metric: matcher.scores_[x_latents],
            "low": intervals[:, 0],
            "high": intervals[:, 1],
            "margin": matcher.margins_[x_latents],
            "mutual": matcher.mutual_[x_latents],
            "above_noise": matcher.above_noise_[x_latents],
            "false_match_share": matcher.false_match_share_[x_latents],
            "decoder_cosine": _decoder_cosines(x_sae, y_sae, x_latents, y_latents),
        }
    )


def _decoder_cosines(x_sae, y_sae, x_latents, y_latents):
    """Cosine of the directions of matched latents in the units of the input."""
    if x_sae.n_features_in_ != y_sae.n_features_in_:
        return np.full(len(x_latents), np.nan)
    x, y = (
        sae.components_[latents].astype(float) * sae.scale_
        for sae, latents in ((x_sae, x_latents), (y_sae, y_latents))
    )
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.einsum("ij,ij->i", x, y) / np.maximum(norms, np.finfo(float).tiny)


def own_columns(order):
    """Aligned column of each latent, in the order of the latents."""
    columns = np.flatnonzero(order >= 0)
    return columns[np.argsort(order[columns])]


def reordered(sae, order):
    """Copy of a fitted autoencoder with latent ``order[j]`` at j, or none if -1."""
    copy = type(sae)(**sae.get_params(deep=False))
    copy.__dict__.update(vars(sae))
    for name in ("translation_", "_stream"):
        copy.__dict__.pop(name, None)
    present = order >= 0
    for name in _BY_LATENT:
        old = np.asarray(getattr(sae, name, 0.0))
        if not old.ndim:  # a threshold that all latents share, or none
            continue
        new = np.zeros((len(order), *old.shape[1:]), dtype=old.dtype)
        new[present] = old[order[present]]
        setattr(copy, name, new)
    copy.dead_latents_ = copy.firing_rate_ == 0
    copy.n_latents_ = len(order)
    return copy
