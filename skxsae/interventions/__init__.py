"""What is done to embeddings by way of concepts."""

from skxsae.interventions._arithmetic import (
    SemanticArithmetic,
    compose_queries,
    evaluate_arithmetic,
    group_means,
)
from skxsae.interventions._modality_filter import (
    ModalityFilter,
    bimodal_reconstruction,
)
from skxsae.interventions._modality_gap_remover import ModalityGapRemover
from skxsae.interventions._steering import steer

__all__ = [
    "ModalityFilter",
    "ModalityGapRemover",
    "SemanticArithmetic",
    "bimodal_reconstruction",
    "compose_queries",
    "evaluate_arithmetic",
    "group_means",
    "steer",
]
