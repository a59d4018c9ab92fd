"""Sparse autoencoders for paired views, aligned by co-activation."""

import logging

from skxsae._callbacks import StopOnInterrupt
from skxsae._checkpoint import Checkpoint
from skxsae._coactivation import Coactivation
from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._paired_sae import PairedSAE
from skxsae._post_hoc_aligned_sae import PostHocAlignedSAE
from skxsae._saving import load, model_card, save
from skxsae._topk_sae import TopKSAE
from skxsae._version import __version__

logging.getLogger("skxsae").addHandler(logging.NullHandler())

__all__ = [
    "Checkpoint",
    "Coactivation",
    "CoactivationMatcher",
    "PairedSAE",
    "PostHocAlignedSAE",
    "StopOnInterrupt",
    "TopKSAE",
    "__version__",
    "load",
    "model_card",
    "save",
]
