"""Codes and directions of the same concepts in two views, for the displays."""

from skxsae._concepts import concept_views
from skxsae.inspection._concept_table import Codes


def paired_concepts(estimator, X, y):
    """Codes and directions of the concepts in views "x" and "y".

    An autoencoder of one view has one dictionary for both, which then have its width.
    """
    views = concept_views(estimator)
    for name, part in (("X", X), ("y", y)):
        if part is None:
            raise ValueError(
                f"{name} is None, but the picture compares two views: pass the samples "
                "of both. Of one view alone, compute scores with skxsae.metrics and "
                "give them to the display itself."
            )
    views = {"x": views["x"], "y": views.get("y", views["x"])}
    return Codes(
        {name: views[name].codes(part) for name, part in (("x", X), ("y", y))},
        {name: view.directions() for name, view in views.items()},
    )
