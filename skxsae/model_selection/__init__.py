"""Choosing the parameters of an autoencoder, and comparing autoencoders."""

from skxsae.model_selection._alignment_weight import (
    AlignmentWeightSelection,
    select_alignment_weight,
)
from skxsae.model_selection._compare import compare

__all__ = ["AlignmentWeightSelection", "compare", "select_alignment_weight"]
