"""
Which k, and how many latents?
==============================

Explained variance grows with both numbers and so cannot choose them. Four scores over a
grid can, if they are read together: what is reconstructed, how many matches are better
than chance, whether another seed finds the same directions, and whether the codes find
their partner.
"""

# %%
# Pairs of 48 concepts
# --------------------
# About three concepts are active in each of 2,000 pairs, 32 of them in both views.
# Every setting is fitted twice on three quarters of the pairs. Explained variance and
# recall are those of the rest; the share of matches is of those made in the fit. A dot
# is one fit. Dotted is the stability of random directions: the best matching of many is
# well above 0, and only what is above that line has come back.

import matplotlib.pyplot as plt

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features
from skxsae.inspection import SelectionDisplay

data = make_paired_features(
    2000,
    32,
    n_shared=32,
    n_x_only=8,
    n_y_only=8,
    sparsity=0.925,
    max_interference=0.7,
    random_state=0,
)
view = TopKSAE(max_iter=15, batch_size=128, learning_rate=5e-3)
display = SelectionDisplay.from_estimator(
    PostHocAlignedSAE(x_sae=view, y_sae=view),
    data.X,
    data.y,
    k=[1, 2, 4, 8, 16],
    n_latents=[32, 128],
    random_state=0,
)
plt.show()

# %%
# How to read it
# --------------
# Each view shows 40 concepts, so that 32 latents are too few: whatever ``k`` is, recall
# stays low. With 128, recall is highest where about as many latents are active as
# concepts are. Further latents still explain variance, but another seed finds other
# directions for them. The same as numbers:

display.plot(kind="heatmap")
plt.show()
