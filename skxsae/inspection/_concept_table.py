"""What the explorer shows of each concept: numbers, strongest samples, neighbours."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from skxsae._coactivation import Marginals
from skxsae._concepts import largest_of_rows
from skxsae.metrics import energy, modality_score

_BLOCK_CELLS = 2**22
# a concept with a smaller share of its energy in a view counts as absent from it
_TAU = 0.05
_N_COMPONENTS = 50
_PERPLEXITY = 30


@dataclass
class Codes:
    """Codes and directions of the concepts in each view, the second may be missing."""

    codes: dict  # view -> (n_samples, n_concepts) CSR
    directions: dict  # view -> (n_concepts, n_features)

    @classmethod
    def of(cls, views, data, device):
        """Encode samples of each view."""
        return cls(
            {name: views[name].codes(X, device) for name, X in data.items()},
            {name: views[name].directions() for name in data},
        )

    def of_concepts(self, concepts):
        """The same for some of the concepts."""
        return Codes(
            {name: codes[:, concepts] for name, codes in self.codes.items()},
            {name: rows[concepts] for name, rows in self.directions.items()},
        )

    @property
    def share_a_space(self):
        """Whether directions of the views can be compared."""
        return len({rows.shape[1] for rows in self.directions.values()}) == 1


def concept_numbers(codes):
    """Table of how strong each concept is in each view, and in how many samples."""
    sums = {name: Marginals.from_codes(part) for name, part in codes.codes.items()}
    table = pd.DataFrame({f"n_{name}": part.fires for name, part in sums.items()})
    table["energy"] = np.mean([energy(part) for part in codes.codes.values()], axis=0)
    table["kind"] = "x"
    if len(sums) == 1:
        return table
    score = modality_score(codes.codes["x"], codes.codes["y"])
    kinds = [score > 1 - _TAU, score < _TAU]
    table["modality"], table["kind"] = score, np.select(kinds, ["x", "y"], "shared")
    table["correlation"] = _own_correlations(codes, sums)
    if codes.share_a_space:
        x, y = (normalize(codes.directions[name]) for name in "xy")
        apart = 1 - np.einsum("ij,ij->i", x, y)
        both = x.any(axis=1) & y.any(axis=1)
        table["distance"] = np.where(both, apart, np.nan)
    return table


def _own_correlations(codes, sums):
    """Correlation of the two activations of each concept, NaN if one is constant."""
    X, y = (codes.codes[name].astype(np.float64) for name in "xy")
    meets = np.asarray(X.multiply(y).sum(axis=0)).ravel()
    covariance = meets - sums["x"].total * sums["y"].total / X.shape[0]
    scale = sums["x"].spread() * sums["y"].spread()
    correlation = np.full(len(meets), np.nan)
    np.divide(covariance, scale, out=correlation, where=scale > 0)
    return correlation


def bridge_partners(codes, n):
    """The concepts of the other view that go with each one but under another number.

    The weight of a pair is the mean product of the two activations times, where both
    views are in one space, the cosine of the two directions. Returns for each concept a
    list of (weight, other concept, whether the concept is the one of x).
    """
    x, y = (sparse.csr_array(codes.codes[name].astype(np.float64)) for name in "xy")
    directions = [normalize(codes.directions[name]) for name in "xy"]
    found: list[list] = [[] for _ in range(x.shape[1])]
    for first in (True, False):
        own, other = (x, y) if first else (y, x)
        own_rows, other_rows = directions if first else directions[::-1]
        by_concept = sparse.csr_array(own.T)
        for block in _blocks(x.shape[1]):
            weights = (by_concept[block] @ other).toarray() / x.shape[0]
            if codes.share_a_space:
                weights *= own_rows[block] @ other_rows.T
            numbers = np.arange(block.start, block.stop)
            weights[numbers - block.start, numbers] = 0  # its own match
            for concept, partners, values in zip(
                numbers, *largest_of_rows(weights, n), strict=True
            ):
                found[concept] += [
                    (float(value), int(partner), first)
                    for partner, value in zip(partners, values, strict=True)
                    if value > 0
                ]
    return [sorted(pairs, reverse=True)[:n] for pairs in found]


def nearest_concepts(features, n):
    """Numbers of the concepts whose features have the largest cosine with each."""
    n = min(n, len(features) - 1)
    if n == 0:
        return [[]]
    nearest = []
    for block in _blocks(len(features)):
        cosines = features[block] @ features.T
        numbers = np.arange(block.start, block.stop)
        cosines[numbers - block.start, numbers] = -np.inf
        nearest += largest_of_rows(cosines, n)[0].tolist()
    return nearest


def _blocks(n_concepts):
    """Slices of concepts whose pairs with all others fit in memory."""
    return gen_batches(n_concepts, max(1, _BLOCK_CELLS // n_concepts))


def direction_features(codes):
    """Unit directions of both views beside each other, of unit length in all."""
    rows = [normalize(directions) for directions in codes.directions.values()]
    return normalize(np.hstack(rows)).astype(np.float32)


def place_concepts(features, layout, random_state):
    """Coordinates of the concepts on the map, shape (n_concepts, 2)."""
    n = len(features)
    if n == 1:
        return np.zeros((1, 2))
    if layout == "tsne" and n > 3:
        width = min(_N_COMPONENTS, *features.shape)
        reduced = PCA(width, random_state=random_state).fit_transform(features)
        return TSNE(
            perplexity=min(_PERPLEXITY, (n - 1) / 3),
            init="pca",
            random_state=random_state,
        ).fit_transform(reduced)
    places = PCA(min(2, *features.shape)).fit_transform(features)
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
