"""What a matching rests on: directions of the two views, and the number of pairs."""

from skxsae.inspection._explorer import explore
from skxsae.inspection._heterogeneity import HeterogeneityReport, heterogeneity_report
from skxsae.inspection._heterogeneity_display import HeterogeneityDisplay
from skxsae.inspection._matching_curve import matching_curve
from skxsae.inspection._naming import name_latents

__all__ = [
    "HeterogeneityDisplay",
    "HeterogeneityReport",
    "explore",
    "heterogeneity_report",
    "matching_curve",
    "name_latents",
]
