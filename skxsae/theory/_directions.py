"""Checks of directions."""

import numpy as np
from sklearn.utils import check_array


def check_unit_rows(directions, name):
    """Directions in float64, scaled to unit length."""
    directions = check_array(directions, dtype=np.float64, input_name=name)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"{name} has a row of zeros, which is no direction.")
    return directions / lengths


def check_same_shape(x, y, x_name, y_name, *, n_dims):
    """Both views have the same concepts in one space."""
    if np.shape(x) != np.shape(y) or np.ndim(x) != n_dims:
        raise ValueError(
            f"{x_name} and {y_name} must be {n_dims}-dimensional and of one shape, got "
            f"{np.shape(x)} and {np.shape(y)}."
        )
