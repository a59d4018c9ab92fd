"""The dictionaries that are compared, at equally many parameters and steps.

A key of a fit tells all that a dictionary depends on: "method", "seed", "n_latents" of
each view, "k", "epochs", "batch_size", "normalize", "n_x" and "n_train", the numbers of
different training rows of x and of training pairs, and "activation" if not "topk".
"""

import numpy as np

from skxsae import PairedSAE, PostHocAlignedSAE, TopKSAE

# the shared dictionaries of the papers have one pre-bias, the group-sparse one two
PAIRED_METHODS = {
    "shared": {"alignment": "none", "statistics": "pooled"},
    "iso_energy": {"alignment": "iso_energy", "statistics": "pooled"},
    "iso_energy_masked": {"alignment": "iso_energy_masked", "statistics": "pooled"},
    "group_sparse": {"alignment": "group_sparse"},
    "group_sparse_mask": {"alignment": "group_sparse", "mask_rate": 0.2},
}
# encoders and decoders of their own for each view, so that half the latents make as
# many parameters; a view is encoded alone, a crosscoder's by its half of the encoder
RIVALS = {
    "cross_reconstruction": {"coupling": "cross_reconstruction"},
    "global_topk": {"coupling": "global_topk"},
    "crosscoder": {"coupling": "crosscoder"},
}


def _settings(key):
    """Parameters that all dictionaries share."""
    return {
        "activation": key.get("activation", "topk"),
        "k": key["k"],
        "max_iter": key["epochs"],
        "batch_size": key["batch_size"],
        "normalize": key["normalize"],
    }


def make_paired(key):
    """Latents for both views, with as many parameters as two autoencoders have."""
    method = key["method"]
    factor = 1 if method in RIVALS else 2
    return PairedSAE(
        factor * key["n_latents"],
        random_state=key["seed"],
        **(PAIRED_METHODS | RIVALS)[method],
        **_settings(key),
    )


def make_post_hoc(key):
    """One dictionary for each view, from different initial directions."""
    x_seed, y_seed = np.random.RandomState(key["seed"]).randint(2**31 - 1, size=2)
    x_sae = TopKSAE(key["n_latents"], random_state=int(x_seed), **_settings(key))
    y_sae = TopKSAE(key["n_latents"], random_state=int(y_seed), **_settings(key))
    # a pass shows each distinct row of x once: smaller batches give equally many steps
    x_sae.batch_size = max(1, round(key["batch_size"] * key["n_x"] / key["n_train"]))
    return PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae, random_state=key["seed"])
