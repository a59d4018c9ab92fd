"""Scores of codes, dictionaries and reconstructions: arrays in, numbers out."""

from skxsae.metrics._agreement import top_1_agreement, top_k_jaccard
from skxsae.metrics._attribution import (
    AttributionCurves,
    attribution_curves,
    deletion_score,
    insertion_score,
)
from skxsae.metrics._bias_latents import BiasLatents, bias_latents, energy_spectrum
from skxsae.metrics._bridge import bridge_edges, bridge_matrix, coactivation_matrix
from skxsae.metrics._bridge_mass import (
    bridge_mass,
    functional_alignment_ratio,
    functional_distributional_agreement,
)
from skxsae.metrics._classification_result import ClassificationResult
from skxsae.metrics._code_structure import (
    CodeReport,
    code_effective_rank,
    code_report,
    code_stable_rank,
    connectivity,
    mean_l0,
    mean_l1,
    negative_interference,
)
from skxsae.metrics._codes import keep_top_k
from skxsae.metrics._concept_latents import concept_latents, sample_steering_sources
from skxsae.metrics._dictionary import (
    feature_uniqueness,
    joint_recovered_feature_share,
    mean_correlation_coefficient,
    mean_maximum_inner_product,
    recovered_feature_share,
)
from skxsae.metrics._gap import (
    linear_separability,
    mean_difference_gap,
    relative_modality_gap,
    wasserstein_gap,
)
from skxsae.metrics._gap_report import ModalityGapReport, modality_gap_report
from skxsae.metrics._ground_truth import (
    feature_alignment_error,
    feature_collapse_rate,
    feature_recovery_error,
    feature_recovery_score,
    latent_alignment_error,
    reconstruction_error,
)
from skxsae.metrics._linear_probe import linear_probe_accuracy
from skxsae.metrics._modality import (
    EnergyShares,
    bimodal_latents,
    energy,
    energy_shares,
    modality_score,
)
from skxsae.metrics._monosemanticity import (
    monosemanticity_score,
    multimodal_monosemanticity_score,
)
from skxsae.metrics._neighbors import nearest_neighbor_distances, ood_score
from skxsae.metrics._probing import ProbingAccuracy, probing_accuracy
from skxsae.metrics._ranking_flips import RankingFlips, ranking_flips
from skxsae.metrics._recall import QueryRanks, RetrievalRanks
from skxsae.metrics._recall_drop import recall_drop_at_k
from skxsae.metrics._reconstruction import (
    explained_variance_ratio,
    fraction_of_variance_unexplained,
    mean_sample_r2_score,
    mean_squared_reconstruction_error,
    scalar_mean_r2_score,
)
from skxsae.metrics._retrieval import recall_at_k_score, retrieval_ranks
from skxsae.metrics._retrieval_protocols import ProtocolRecall, recall_by_protocol
from skxsae.metrics._scorers import make_feature_recovery_scorer, make_recall_scorer
from skxsae.metrics._stability import (
    stability_chance,
    stability_curve,
    stability_score,
)
from skxsae.metrics._steering_scores import SteeringResult, steering_scores
from skxsae.metrics._structure import (
    DictionaryReport,
    coherence,
    dictionary_report,
    effective_rank,
    stable_rank,
)
from skxsae.metrics._support import (
    SupportSplit,
    always_on_latents,
    dead_latents,
    firing_rate,
    support_split,
)
from skxsae.metrics._transport import TransportPlan, transport_plan
from skxsae.metrics._usage import dictionary_distance, mean_matching_accuracy
from skxsae.metrics._zero_shot import class_prototypes, zero_shot_accuracy

__all__ = [
    "AttributionCurves",
    "BiasLatents",
    "ClassificationResult",
    "CodeReport",
    "DictionaryReport",
    "EnergyShares",
    "ModalityGapReport",
    "ProbingAccuracy",
    "ProtocolRecall",
    "QueryRanks",
    "RankingFlips",
    "RetrievalRanks",
    "SteeringResult",
    "SupportSplit",
    "TransportPlan",
    "always_on_latents",
    "attribution_curves",
    "bias_latents",
    "bimodal_latents",
    "bridge_edges",
    "bridge_mass",
    "bridge_matrix",
    "class_prototypes",
    "coactivation_matrix",
    "code_effective_rank",
    "code_report",
    "code_stable_rank",
    "coherence",
    "concept_latents",
    "connectivity",
    "dead_latents",
    "deletion_score",
    "dictionary_distance",
    "dictionary_report",
    "effective_rank",
    "energy",
    "energy_shares",
    "energy_spectrum",
    "explained_variance_ratio",
    "feature_alignment_error",
    "feature_collapse_rate",
    "feature_recovery_error",
    "feature_recovery_score",
    "feature_uniqueness",
    "firing_rate",
    "fraction_of_variance_unexplained",
    "functional_alignment_ratio",
    "functional_distributional_agreement",
    "insertion_score",
    "joint_recovered_feature_share",
    "keep_top_k",
    "latent_alignment_error",
    "linear_probe_accuracy",
    "linear_separability",
    "make_feature_recovery_scorer",
    "make_recall_scorer",
    "mean_correlation_coefficient",
    "mean_difference_gap",
    "mean_l0",
    "mean_l1",
    "mean_matching_accuracy",
    "mean_maximum_inner_product",
    "mean_sample_r2_score",
    "mean_squared_reconstruction_error",
    "modality_gap_report",
    "modality_score",
    "monosemanticity_score",
    "multimodal_monosemanticity_score",
    "nearest_neighbor_distances",
    "negative_interference",
    "ood_score",
    "probing_accuracy",
    "ranking_flips",
    "recall_at_k_score",
    "recall_by_protocol",
    "recall_drop_at_k",
    "reconstruction_error",
    "recovered_feature_share",
    "relative_modality_gap",
    "retrieval_ranks",
    "sample_steering_sources",
    "scalar_mean_r2_score",
    "stability_chance",
    "stability_curve",
    "stability_score",
    "stable_rank",
    "steering_scores",
    "support_split",
    "top_1_agreement",
    "top_k_jaccard",
    "transport_plan",
    "wasserstein_gap",
    "zero_shot_accuracy",
]
