"""Scores of codes, dictionaries and reconstructions: arrays in, numbers out."""

from skxsae.metrics._agreement import top_1_agreement, top_k_jaccard
from skxsae.metrics._codes import keep_top_k
from skxsae.metrics._dictionary import (
    feature_uniqueness,
    joint_recovered_feature_share,
    mean_correlation_coefficient,
    mean_maximum_inner_product,
    recovered_feature_share,
)
from skxsae.metrics._ground_truth import (
    feature_alignment_error,
    feature_collapse_rate,
    feature_recovery_error,
    feature_recovery_score,
    latent_alignment_error,
    reconstruction_error,
)
from skxsae.metrics._modality import energy, modality_score
from skxsae.metrics._recall import QueryRanks, RetrievalRanks
from skxsae.metrics._reconstruction import (
    explained_variance_ratio,
    fraction_of_variance_unexplained,
    mean_squared_reconstruction_error,
)
from skxsae.metrics._retrieval import recall_at_k_score, retrieval_ranks
from skxsae.metrics._scorers import make_feature_recovery_scorer, make_recall_scorer

__all__ = [
    "QueryRanks",
    "RetrievalRanks",
    "energy",
    "explained_variance_ratio",
    "feature_alignment_error",
    "feature_collapse_rate",
    "feature_recovery_error",
    "feature_recovery_score",
    "feature_uniqueness",
    "fraction_of_variance_unexplained",
    "joint_recovered_feature_share",
    "keep_top_k",
    "latent_alignment_error",
    "make_feature_recovery_scorer",
    "make_recall_scorer",
    "mean_correlation_coefficient",
    "mean_maximum_inner_product",
    "mean_squared_reconstruction_error",
    "modality_score",
    "recall_at_k_score",
    "reconstruction_error",
    "recovered_feature_share",
    "retrieval_ranks",
    "top_1_agreement",
    "top_k_jaccard",
]
