"""Fits whose digests must not depend on the process that runs them.

``python tests/reproducible_fits.py 2`` prints them as JSON, computed by two threads.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import skxsae
from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.interventions import ModalityFilter, ModalityGapRemover
from skxsae.search import ConceptIndex

RNG = np.random.default_rng(0)
# enough for more than one thread to take part
X = RNG.standard_normal((1500, 64)).astype(np.float32)
# no product: the threads of NumPy's are not set here, and their number rounds
Y = X[:, ::-1] + RNG.standard_normal((1500, 64)).astype(np.float32) / 2
SIZES = {"n_latents": 256, "k": 8, "max_iter": 2, "random_state": 0}
GROUPS = np.arange(1500) // 2


def post_hoc(assignment):
    """Two autoencoders and a matcher."""
    matcher = CoactivationMatcher(assignment=assignment, n_null=2, n_bootstrap=2)
    return PostHocAlignedSAE(matcher=matcher, **SIZES)


def codes():
    """Codes of both views."""
    return [TopKSAE(**SIZES).fit_transform(view) for view in (X, Y)]


def streamed():
    """An autoencoder that was fitted in parts."""
    sae = TopKSAE(**{**SIZES, "max_iter": "auto"}, batch_size=256)
    for rows in np.array_split(X, 7):
        sae.partial_fit(rows)
    return sae


FITS = {
    **{
        f"TopKSAE {activation}": lambda activation=activation: TopKSAE(
            activation=activation, **SIZES
        ).fit(X)
        for activation in ("topk", "batch_topk", "relu", "jumprelu", "matching_pursuit")
    },
    "TopKSAE auto": lambda: TopKSAE(max_iter=1, random_state=0).fit(X),
    "TopKSAE screen": lambda: TopKSAE(precision="screen", **SIZES).fit(X),
    "TopKSAE in a stream": streamed,
    **{
        f"PairedSAE {coupling}": lambda coupling=coupling: PairedSAE(
            coupling=coupling, **SIZES
        ).fit(X, Y)
        for coupling in ("shared", "cross_reconstruction", "global_topk", "crosscoder")
    },
    "PairedSAE masked": lambda: PairedSAE(mask_rate=0.2, **SIZES).fit(X, Y),
    "PostHocAlignedSAE": lambda: post_hoc("hungarian").fit(X, Y),
    "PostHocAlignedSAE groups": lambda: post_hoc("greedy").fit(X, Y, groups=GROUPS),
    "PostHocAlignedSAE soft": lambda: post_hoc("soft").fit(X, Y),
    "CoactivationMatcher": lambda: CoactivationMatcher(random_state=0).fit(*codes()),
    **{
        f"SparseBaseline {method}": lambda method=method: SparseBaseline(
            method, 32, 4, max_iter=300, random_state=0
        ).fit(X[:300, :24])
        for method in ("pca", "ica", "kmeans", "dictionary")
    },
    "ModalityGapRemover": lambda: ModalityGapRemover(
        "random_shift", random_state=0
    ).fit(X, Y),
    "ModalityFilter": lambda: ModalityFilter().fit(*codes()),
    "ConceptIndex": lambda: ConceptIndex().fit(codes()[0]),
}


def digest(estimator):
    """SHA-256 of all that an estimator is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        skxsae.save(estimator, path)
        return hashlib.sha256(path.read_bytes()).hexdigest()


def digests():
    """Digest of each fit."""
    return {name: digest(fit()) for name, fit in FITS.items()}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(json.dumps(digests()))
