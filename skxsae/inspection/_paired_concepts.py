"""Codes and directions of the same concepts in two views, for the displays."""

from skxsae._concepts import concept_views
from skxsae.inspection._concept_table import Codes


def paired_concepts(estimator, X, y):
    """Codes and directions of the concepts in views "x" and "y".

    An autoencoder of one view has one dictionary for both, which then have its width.
    """
    views = concept_views(estimator)
    return Codes.of({"y": views["x"], **views}, {"x": X, "y": y})
