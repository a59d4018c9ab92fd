"""
Interventions in pictures: the gap and steering
===============================================

What do interventions on embeddings do? Distances to the nearest neighbours show whether
a gap between the views is closed, and curves over the strength show whether steering
finds what it should.
"""

# %%
# A space with a gap
# ------------------
# Pairs of two views in one space. Their shared concepts have the same directions; each
# view has concepts of its own besides, one of which is always active, and so there is a
# gap between the views. Codes and directions are the true ones here; those of a fitted
# :class:`~skxsae.PairedSAE` are used in the same way.

import matplotlib.pyplot as plt
import numpy as np

from skxsae.datasets import make_paired_features

data = make_paired_features(
    3000,
    32,
    n_shared=24,
    n_x_only=4,
    n_y_only=4,
    alignment=1.0,
    sparsity=0.9,
    max_interference=0.7,
    random_state=0,
)
always, never = np.full((3000, 1), 1.0), np.zeros((3000, 1))
x_codes = np.hstack([data.x_codes.toarray(), always, never])
y_codes = np.hstack([data.y_codes.toarray(), never, always])
biases = np.random.default_rng(0).normal(size=(2, 32)) / np.sqrt(32)
has_shared = data.x_codes.toarray()[:, data.shared].any(axis=1)  # or nothing is left
x_codes, y_codes = x_codes[has_shared], y_codes[has_shared]
in_x = data.x_features.any(axis=1, keepdims=True)
directions = np.vstack([np.where(in_x, data.x_features, data.y_features), biases])
X, y = x_codes @ directions, y_codes @ directions

# %%
# Distances before and after
# --------------------------
# For each row its cosine distance to the tenth neighbour among the rows of x. Rows of y
# are far from all of them at first. To move both means to one point brings them nearer,
# but what is left of the concepts of one view can still be told; without these concepts
# the two histograms lie on each other. The OOD score is how well the best threshold
# tells the two apart: 0.5 is chance.

from skxsae.inspection import NeighborDistanceDisplay
from skxsae.interventions import ModalityFilter, ModalityGapRemover

shift = ModalityGapRemover(method="shift").fit(X, y)
kept = ModalityFilter().fit(x_codes, y_codes)
NeighborDistanceDisplay.from_arrays(
    {
        "as they are": (X, y),
        "means shifted": (shift.transform(X), shift.transform_y(y)),
        "shared concepts": [
            codes @ directions for codes in kept.transform(x_codes, y_codes)
        ],
    }
)
plt.show()

# %%
# Steering
# --------
# A direction is added to embeddings of x that lack a concept, and all rows of x are
# ranked by their cosine with the result. The directions of the latents that tell best
# who has a concept find it as well as the true ones, so that their curves nearly lie on
# each other; random directions find nothing. All are in the units of the embeddings and
# of one length, or a strength would mean another thing for each.

from sklearn.preprocessing import normalize

from skxsae import PairedSAE
from skxsae.inspection import SteeringDisplay, decoder
from skxsae.metrics import concept_latents, sample_steering_sources, steering_scores

sae = PairedSAE(48, k=4, max_iter=30, batch_size=128, learning_rate=3e-3)
sae.set_params(random_state=0).fit(data.X, data.y)
gallery = data.X[:1000]
relevance = data.x_codes[:1000, :8].toarray() > 0  # eight concepts
sources, concepts = sample_steering_sources(relevance, n_sources=20, random_state=0)
latents = concept_latents(sae.transform(gallery), relevance)
directions = {
    "true directions": data.x_features[:8],
    "latents": normalize(decoder(sae, "x").components[latents]),
    "random directions": np.random.default_rng(0).normal(size=(8, 32)) / np.sqrt(32),
}
results = {
    name: steering_scores(sources, gallery, rows, relevance, concepts=concepts)
    for name, rows in directions.items()
}
SteeringDisplay(results).plot()
plt.show()
