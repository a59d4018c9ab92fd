"""
Sweeps in pictures: distance, weight and another seed
=====================================================

How a method depends on its setting: over the distance between the directions of the two
views, over the weight of an alignment loss, and over the seed. Small versions of
figures 5 and 6 of the heterogeneity paper; ``benchmarks/synthetic.py --picture`` draws
them at full size.
"""

# %%
# Fits to compare
# ---------------
# Pairs with known directions: recovery and alignment errors can be measured.

import matplotlib.pyplot as plt
import pandas as pd

from skxsae import PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features
from skxsae.metrics import feature_recovery_error, latent_alignment_error

settings = {"k": 3, "max_iter": 20, "batch_size": 128, "learning_rate": 3e-3}


def make(alpha):
    return make_paired_features(
        1500,
        32,
        n_shared=24,
        n_x_only=0,
        n_y_only=0,
        alignment=alpha,
        sparsity=0.92,
        max_interference=0.7,
        random_state=0,
    )


def measure(name, model, data, **setting):
    """Fit a model, and return one row for each metric."""
    model.fit(data.X, data.y)
    codes = model.transform(data.x_features, data.y_features)
    x_hat, y_hat = model.inverse_transform(*codes)
    values = {
        "Feature recovery error": feature_recovery_error(
            data.x_features, x_hat, data.y_features, y_hat
        ),
        "Latent alignment error": latent_alignment_error(
            *model.transform(data.X, data.y)
        ),
    }
    return [
        {"method": name, "metric": metric, "mean": value, **setting}
        for metric, value in values.items()
    ]


def post_hoc():
    sae = TopKSAE(32, **settings)
    return PostHocAlignedSAE(x_sae=sae, y_sae=sae, random_state=0)


# %%
# Over the distance of the directions
# -----------------------------------
# At 0 the two views have the same directions, and one dictionary does best. As they
# move apart it recovers them less well, and learns the two directions of a concept as
# two latents, which are no longer active together. Separate dictionaries do not mind.
# With several seeds, a column "standard_error" gives the lines their error bars.

from skxsae.inspection import AlphaSweepDisplay

rows = []
for alpha in (1.0, 0.8, 0.5, 0.0):
    shared = PairedSAE(64, random_state=0, **settings)
    rows += measure("one dictionary", shared, make(alpha), alpha=alpha)
    rows += measure("post-hoc alignment", post_hoc(), make(alpha), alpha=alpha)
errors = ["Feature recovery error", "Latent alignment error"]
AlphaSweepDisplay(pd.DataFrame(rows), lower_is_better=errors).plot()
plt.show()

# %%
# Over the weight of an alignment loss
# ------------------------------------
# Numbers beside the points are multiples of a default weight. A loss buys alignment
# with reconstruction, and a matching after the fit does not.

from skxsae.inspection import TradeoffDisplay

data, rows = make(0.5), []
for multiplier in (1.0, 4.0, 16.0):
    iso = PairedSAE(64, alignment="iso_energy_masked", random_state=0, **settings)
    iso.set_params(alignment_weight=0.03 * multiplier)
    rows += measure("iso-energy loss", iso, data, multiplier=multiplier)
    group = PairedSAE(64, alignment="group_sparse", random_state=0, **settings)
    group.set_params(alignment_weight=0.05 * multiplier)
    rows += measure("group-sparse loss", group, data, multiplier=multiplier)
model = post_hoc()
rows += measure("post-hoc alignment", model, data, multiplier=1.0)
display = TradeoffDisplay(
    pd.DataFrame(rows),
    reconstruction="Feature recovery error",
    alignment="Latent alignment error",
    lower_is_better=errors,
)
fig, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
display.plot(ax)
plt.show()

# %%
# The same numbers as the figure of the paper has them, over the weight:

display.plot(kind="panels")
plt.show()

# %%
# Another seed
# ------------
# Which directions come back in a fit with another seed? All latents are matched, and
# sorted by energy: a dot for each pair of directions, and the mean up to its rank as a
# line. The latents that matter most are the most stable. The dotted lines are random
# directions in place of those of the second fit.

from skxsae.inspection import StabilityDisplay
from skxsae.metrics import energy, stability_curve

curves = {}
for name, n_latents in {"24 latents": 24, "96 latents": 96}.items():
    first, second = (
        TopKSAE(n_latents, random_state=seed, **settings).fit(data.X) for seed in (1, 2)
    )
    curves[name] = stability_curve(
        first.components_,
        second.components_,
        energy(first.transform(data.X)),
        null="moments",
        random_state=0,
    )
StabilityDisplay(curves).plot()
plt.show()
