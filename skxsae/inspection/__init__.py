"""What a matching rests on, the concepts of a fit, and pictures of what is measured."""

from skxsae.inspection._alpha_sweep_display import AlphaSweepDisplay
from skxsae.inspection._decoder import DecoderWeights, decoder
from skxsae.inspection._dictionary_map_display import DictionaryMapDisplay
from skxsae.inspection._energy_display import EnergyDisplay
from skxsae.inspection._explorer import explore
from skxsae.inspection._heterogeneity import HeterogeneityReport, heterogeneity_report
from skxsae.inspection._heterogeneity_display import HeterogeneityDisplay
from skxsae.inspection._matching_curve import matching_curve
from skxsae.inspection._modality_score_display import ModalityScoreDisplay
from skxsae.inspection._monosemanticity_display import MonosemanticityDisplay
from skxsae.inspection._naming import name_latents
from skxsae.inspection._neighbor_distance_display import NeighborDistanceDisplay
from skxsae.inspection._selection_display import SelectionDisplay
from skxsae.inspection._stability_display import StabilityDisplay
from skxsae.inspection._steering_display import SteeringDisplay
from skxsae.inspection._tradeoff_display import TradeoffDisplay

__all__ = [
    "AlphaSweepDisplay",
    "DecoderWeights",
    "DictionaryMapDisplay",
    "EnergyDisplay",
    "HeterogeneityDisplay",
    "HeterogeneityReport",
    "ModalityScoreDisplay",
    "MonosemanticityDisplay",
    "NeighborDistanceDisplay",
    "SelectionDisplay",
    "StabilityDisplay",
    "SteeringDisplay",
    "TradeoffDisplay",
    "decoder",
    "explore",
    "heterogeneity_report",
    "matching_curve",
    "name_latents",
]
