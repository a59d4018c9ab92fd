"""The concepts of a fitted estimator: which latent of each view stands for each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from skxsae._matches import relabelled
from skxsae._topk_sae import TopKSAE
from skxsae._validation import check_view


@dataclass(frozen=True, eq=False)
class ConceptView:
    """One view of the concepts: its autoencoder, and its latent for each of them."""

    sae: TopKSAE
    latents: np.ndarray  # (n_concepts,), -1 where the view lacks the concept

    @property
    def present(self):
        """Whether the view has each concept."""
        return self.latents >= 0

    def codes(self, X, device=None):
        """CSR codes of samples, without what is translated from them."""
        X = check_view(self.sae, X, reset=False)
        codes = sparse.csr_array(self.sae._own_codes(X, device or self.sae.device))
        return relabelled(codes, self.latents)

    def directions(self):
        """Direction of each concept in the units of the input, 0 if it is absent."""
        sae = self.sae
        directions = np.zeros((len(self.latents), sae.components_.shape[1]))
        rows = sae.components_[self.latents[self.present]]
        directions[self.present] = rows.astype(np.float64) * sae.scale_
        return directions


def concept_views(estimator):
    """View "x" and, of an estimator of two views, view "y" of the same concepts.

    Concepts have the numbers of the columns of `transform`. A soft assignment has no
    column of both views: there a match is one concept, under the number of its latent
    of x, and the number of its latent of y is left empty, see `other_columns`.
    """
    if isinstance(estimator, FrozenEstimator):
        return concept_views(estimator.estimator)
    if isinstance(estimator, TopKSAE):
        check_is_fitted(estimator)
        latents = np.arange(estimator.n_latents_)
        absent = ~estimator.components_.any(axis=1)
        return {"x": ConceptView(estimator, np.where(absent, -1, latents))}
    saes = both_autoencoders(estimator, "PostHocAlignedSAE, PairedSAE or TopKSAE")
    views = {
        name: concept_views(sae)["x"] for name, sae in zip("xy", saes, strict=True)
    }
    matches = getattr(estimator, "matches_", None)
    if matches is not None:
        x_columns, y_columns = (estimator._matched_columns(view) for view in "xy")
        latents = views["y"].latents.copy()
        latents[y_columns] = -1
        latents[x_columns] = y_columns
        views["y"] = ConceptView(estimator.y_sae_, latents)
    return views


def other_columns(estimator):
    """Column of y by number of concept, where a soft assignment has two columns."""
    if getattr(estimator, "matches_", None) is None:
        return pd.Series(dtype=int)
    x_columns, y_columns = (estimator._matched_columns(view) for view in "xy")
    differ = x_columns != y_columns
    return pd.Series(y_columns[differ], index=x_columns[differ])


def both_autoencoders(estimator, expected="PostHocAlignedSAE or PairedSAE"):
    """The fitted autoencoder of each of two views."""
    check_is_fitted(estimator)
    if not (hasattr(estimator, "x_sae_") and hasattr(estimator, "y_sae_")):
        raise TypeError(
            f"estimator must be a fitted {expected}, got {type(estimator).__name__}. "
            "Of a pipeline or a search, pass the step or the best_estimator_, and "
            "arrays as that one sees them."
        )
    return estimator.x_sae_, estimator.y_sae_


def concept_view(estimator, view):
    """One view of the concepts of an estimator."""
    views = concept_views(estimator)
    if view not in views:
        raise ValueError(
            f"view={view!r} must be {' or '.join(map(repr, views))} for a "
            f"{type(estimator).__name__}."
        )
    return views[view]


def strongest_rows(codes, owners, n):
    """For each column the `n` rows where it is most active, none of one owner twice.

    The codes are a CSC array; an owner is the number of what a row shows, such as the
    picture of a caption. Returns rows and activations, ties in the order of the rows.
    """
    best = []
    for start, stop in zip(codes.indptr, codes.indptr[1:], strict=False):
        order = np.lexsort((codes.indices[start:stop], -codes.data[start:stop]))
        order = order[codes.data[start:stop][order] > 0]
        rows = codes.indices[start:stop][order]
        _, first = np.unique(owners[rows], return_index=True)
        kept = np.sort(first)[:n]
        best.append((rows[kept], codes.data[start:stop][order][kept]))
    return best


def largest_of_rows(block, n):
    """Columns and values of the `n` largest entries of each row, ties by column."""
    n = min(n, block.shape[1])
    least = np.partition(block, -n, axis=1)[:, -n, None]
    kept, tied = block > least, block == least
    n_tied = n - np.count_nonzero(kept, axis=1)
    kept |= tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= n_tied[:, None])
    columns = np.nonzero(kept)[1].reshape(-1, n)
    values = np.take_along_axis(block, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return tuple(np.take_along_axis(part, order, axis=1) for part in (columns, values))


def names_by_concept(names, n_concepts):
    """Table of "name" by number of concept, with all else that `names` tells."""
    if names is None:
        return pd.DataFrame({"name": pd.Series(dtype=object)})
    if isinstance(names, pd.DataFrame):
        if "name" not in names:
            raise ValueError(
                "names has no column 'name': pass what name_latents returned, a "
                "Series, or a name for each column."
            )
        return _checked_index(names)
    if not isinstance(names, pd.Series):
        if len(names) != n_concepts:
            raise ValueError(
                f"names has {len(names)} entries, but there are {n_concepts} concepts."
            )
        names = pd.Series(names, dtype=object)
    return _checked_index(names.to_frame("name"))


def _checked_index(names):
    """Names as strings, unless a concept has two, or is not known by its number."""
    if len(names) and not pd.api.types.is_integer_dtype(names.index):
        raise ValueError(
            "names must have the numbers of the concepts as its index, got "
            f"{names.index[0]!r}."
        )
    names = names.assign(name=[n if pd.isna(n) else str(n) for n in names["name"]])
    if not names.index.is_unique:
        twice = names.index[names.index.duplicated()][0]
        raise ValueError(f"names has more than one row for concept {twice}.")
    return names
