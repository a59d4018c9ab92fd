"""What a shared dictionary does to a concept: thresholds, optima and errors."""

from skxsae.theory._dictionary import (
    DictionaryOptimum,
    expected_inner_product,
    optimal_dictionary,
)
from skxsae.theory._one_concept import ConceptOptimum, optimal_concept
from skxsae.theory._thresholds import (
    group_sparse_thresholds,
    inner_product_threshold,
    iso_energy_threshold,
    merged_error,
)

__all__ = [
    "ConceptOptimum",
    "DictionaryOptimum",
    "expected_inner_product",
    "group_sparse_thresholds",
    "inner_product_threshold",
    "iso_energy_threshold",
    "merged_error",
    "optimal_concept",
    "optimal_dictionary",
]
