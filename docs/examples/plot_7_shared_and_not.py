"""
What is shared between two views, in pictures
=============================================

Which concepts do both views have, how strong are they, where do they lie, and is each
of them about one thing? Four pictures of one fitted model, on pairs whose truth is
known, so that one can see what the pictures should show.
"""

# %%
# Pairs with known concepts
# -------------------------
# 48 concepts are in both views, 24 in each view alone. The two directions of a shared
# concept have a cosine of 0.7.

import matplotlib.pyplot as plt

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features

data = make_paired_features(
    6000,
    64,
    n_shared=48,
    n_x_only=24,
    n_y_only=24,
    alignment=0.7,
    sparsity=0.95,
    max_interference=0.6,
    random_state=0,
)
small = TopKSAE(96, k=6, max_iter=30, batch_size=256, learning_rate=3e-3)
sae = PostHocAlignedSAE(x_sae=small, y_sae=small, random_state=0)
sae.fit(data.X, data.y)

# %%
# Two dictionaries have a concept for every pair of matched latents, and a matching
# pairs all latents it can. What is in one view alone gets a partner by chance. One
# dictionary for both views tells the two apart: here each concept can be of one view.

from skxsae import PairedSAE

shared = PairedSAE(192, k=6, max_iter=30, batch_size=256, learning_rate=3e-3)
shared.set_params(alignment="iso_energy", alignment_weight=0.1, random_state=0)
shared.fit(data.X, data.y)

# %%
# Energy in both views
# --------------------
# The energy of a concept is its mean squared activation. On the dotted line it is
# equal in both views; beyond the dashed lines less than 5 % of it is in one of them. A
# concept that is never active in one view is drawn at 0, on the edge. There are more
# than 24 strong concepts of each view alone: the two directions of a shared concept
# differ, and some of them were learnt as two concepts.

from skxsae.inspection import EnergyDisplay

EnergyDisplay.from_estimator(shared, data.X, data.y)
plt.show()

# %%
# Modality scores
# ---------------
# The same numbers as shares: how many concepts have which modality score, and how much
# of the energy. With two dictionaries, on the right, nearly all concepts look as if
# both views had them. That is the matching's doing: look at ``above_noise`` in
# ``matches_`` to see which of the matches can be believed.

from skxsae.inspection import ModalityScoreDisplay

fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for ax, model in zip(axes, (shared, sae), strict=True):
    ModalityScoreDisplay.from_estimator(model, data.X, data.y, ax=ax)
    ax.set_title(type(model).__name__, loc="left", pad=28)
plt.show()

# %%
# A map of the dictionary
# -----------------------
# Two principal components of the directions, or t-SNE with ``layout="tsne"``. Large
# points have much energy. These directions were drawn at random: concepts of one view
# have no region of their own, as they have in embeddings of a vision-language model.

from skxsae.inspection import DictionaryMapDisplay

DictionaryMapDisplay.from_estimator(shared, data.X, data.y)
plt.show()

# %%
# Is a concept about one thing?
# -----------------------------
# A latent is monosemantic if the samples it is active on are alike by another encoder.
# Here the other encoder is the truth: which concepts a sample has. The curve across the
# views falls to 0 where two latents were matched that do not belong together.

import numpy as np

from skxsae.inspection import MonosemanticityDisplay

x_truth, y_truth = (
    np.hstack([codes.toarray(), np.full((len(data.X), 1), 1e-3)])  # no row is zero
    for codes in (data.x_codes, data.y_codes)
)
MonosemanticityDisplay.from_estimator(
    sae, data.X, data.y, x_truth, y_embeddings=y_truth
)
plt.show()
