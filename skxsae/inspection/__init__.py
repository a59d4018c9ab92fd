"""What a matching rests on: directions of the two views, and the number of pairs."""

from skxsae.inspection._heterogeneity import HeterogeneityReport, heterogeneity_report
from skxsae.inspection._heterogeneity_display import HeterogeneityDisplay
from skxsae.inspection._matching_curve import matching_curve

__all__ = [
    "HeterogeneityDisplay",
    "HeterogeneityReport",
    "heterogeneity_report",
    "matching_curve",
]
