"""Distances between the directions of latents that are active together."""

import matplotlib.pyplot as plt

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features
from skxsae.inspection import HeterogeneityDisplay

data = make_paired_features(
    5000,
    64,
    n_shared=64,
    n_x_only=0,
    n_y_only=0,
    sparsity=0.95,
    max_interference=0.6,
    random_state=0,
)
x_sae, y_sae = (
    TopKSAE(64, 4, max_iter=40, batch_size=256, learning_rate=3e-3, random_state=seed)
    for seed in (0, 1)
)
sae = PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae, random_state=0)
sae.fit(data.X, data.y)

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
HeterogeneityDisplay.from_estimator(sae, data.X, data.y, ax=ax)
ax.axvline(0.5, color="0.4", ls="--", lw=1)
top = 1.1 * ax.get_ylim()[1]
ax.set_ylim(0, top)
ax.text(0.49, 0.97 * top, "true distance", color="0.4", ha="right", va="top")
ax.get_legend().set_loc("upper right")
