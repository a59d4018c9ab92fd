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
# gap between the views.

import matplotlib.pyplot as plt
import numpy as np

from skxsae import PairedSAE
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
bias = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 2)))[0].T
X, y = data.X + 1.5 * bias[0], data.y + 1.5 * bias[1]
sae = PairedSAE(48, k=6, max_iter=40, batch_size=128, learning_rate=3e-3)
sae.set_params(alignment="iso_energy", alignment_weight=0.1, fit_intercept=False)
sae.set_params(random_state=0).fit(X, y)

# %%
# Distances before and after
# --------------------------
# For each row its cosine distance to the tenth neighbour among the rows of x. Rows of y
# are far from all of them at first. To move both means to one point brings them nearer
# but leaves two histograms; to keep only the concepts that both views have puts the
# histograms on each other. The OOD score is how well the best threshold tells the two
# apart: 0.5 is chance.

from skxsae.inspection import NeighborDistanceDisplay
from skxsae.interventions import ModalityFilter, ModalityGapRemover

shift = ModalityGapRemover(method="shift").fit(X, y)
codes = sae.transform(X, y)
kept = ModalityFilter().fit(*codes).transform(*codes)
NeighborDistanceDisplay.from_arrays(
    {
        "as they are": (X, y),
        "means shifted": (shift.transform(X), shift.transform_y(y)),
        "shared concepts": sae.inverse_transform(*kept),
    }
)
plt.show()

# %%
# Steering
# --------
# A direction is added to embeddings of x that lack a concept, and all rows of x are
# ranked by their cosine with the result. The true directions of the concepts do best;
# those of the latents that are most active with each concept come close; random ones
# find nothing.

from skxsae.inspection import SteeringDisplay
from skxsae.metrics import concept_latents, sample_steering_sources, steering_scores

gallery = data.X[:1000]
relevance = data.x_codes[:1000, :8].toarray() > 0  # eight concepts
sources, concepts = sample_steering_sources(relevance, n_sources=20, random_state=0)
latents = concept_latents(sae.transform(X[:1000]), relevance)
directions = {
    "true": data.x_features[:8],
    "latents": sae.x_sae_.components_[latents] * sae.x_sae_.scale_,
    "random": np.random.default_rng(0).normal(size=(8, 32)) / np.sqrt(32),
}
results = {
    name: steering_scores(sources, gallery, rows, relevance, concepts=concepts)
    for name, rows in directions.items()
}
SteeringDisplay(results).plot()
plt.show()
