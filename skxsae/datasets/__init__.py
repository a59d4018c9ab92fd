"""Paired data: generated with known truth, and read from disk."""

from skxsae._disk_array import DiskArray
from skxsae.datasets._arrays import load_array
from skxsae.datasets._emoji import load_emoji, load_emoji_names, load_emoji_pictures
from skxsae.datasets._iso_energy import make_iso_energy_pairs
from skxsae.datasets._paired_arrays import load_paired_arrays
from skxsae.datasets._synthetic import PAIRED_FEATURES_PRESETS, make_paired_features

__all__ = [
    "PAIRED_FEATURES_PRESETS",
    "DiskArray",
    "load_array",
    "load_emoji",
    "load_emoji_names",
    "load_emoji_pictures",
    "load_paired_arrays",
    "make_iso_energy_pairs",
    "make_paired_features",
]
