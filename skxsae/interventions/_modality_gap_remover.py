"""Ways to close the gap between the embeddings of two views that need no latents."""

import copy
from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import (
    _check_feature_names,
    _get_feature_names,
    check_is_fitted,
)

from skxsae._validation import check_second_view, check_view
from skxsae._views import row_blocks
from skxsae.interventions._names import check_names

# what is left of sums in float64 that cancel, relative to their terms
_ROUNDING = 1e-12


def _center(remover, means):
    """Take off the mean of the view."""
    return _nothing_projected(means), [-mean for mean in means]


def _shift(remover, means):
    """Move the mean of the view to the mean of both means."""
    middle = (means[0] + means[1]) / 2
    return _nothing_projected(means), [middle - mean for mean in means]


def _random_shift(remover, means):
    """Move the mean of the view to a random point of the unit sphere."""
    point = check_random_state(remover.random_state).standard_normal(len(means[0]))
    point /= np.linalg.norm(point)
    return _nothing_projected(means), [point - mean for mean in means]


def _project_means(remover, means):
    """Project out the direction of the mean of the view."""
    return [_unit(mean)[None] for mean in means], [0.0 * mean for mean in means]


def _project_difference(remover, means):
    """Project out the direction of the difference of the means."""
    size = np.linalg.norm(means, axis=1).max()
    direction = _unit(means[1] - means[0], size)[None]
    return [direction, direction], [0.0 * mean for mean in means]


def _project_coordinates(remover, means):
    """Set the coordinates to zero in which the means differ most."""
    n_features = len(means[0])
    if remover.n_coordinates > n_features:
        raise ValueError(
            f"n_coordinates={remover.n_coordinates} is larger than the number of "
            f"features, {n_features}. Use fewer."
        )
    order = np.argsort(-np.abs(means[1] - means[0]), kind="stable")
    axes = np.eye(n_features)[order[: remover.n_coordinates]]
    return [axes, axes], [0.0 * mean for mean in means]


# what is projected out of each view, and what is added to it
_METHODS = {
    "center": _center,
    "shift": _shift,
    "random_shift": _random_shift,
    "project_means": _project_means,
    "project_difference": _project_difference,
    "project_coordinates": _project_coordinates,
}
_OF_ANY_WIDTH = ("center", "project_means")


class ModalityGapRemover(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Affine map of each view that brings the means of two views together.

    These are the baselines that filtering out unimodal latents is compared with [1]_.
    Each learns the means of both views on training data, and maps every view on its
    own, so that later samples need no partner.

    Parameters
    ----------
    method : {"center", "shift", "random_shift", "project_means", \
            "project_difference", "project_coordinates"}, default="center"
        What is done to a sample x of a view with the mean m:

        - "center": ``x - m``;
        - "shift": ``x - m`` plus the mean of both means [2]_;
        - "random_shift": ``x - m`` plus a random unit vector, the same for both views;
        - "project_means": the direction of m is projected out of x;
        - "project_difference": the direction of the difference of the two means is
          projected out of both views;
        - "project_coordinates": the `n_coordinates` features in which the means differ
          most become 0 in both views [3]_.

    n_coordinates : int, default=2
        Number of features that "project_coordinates" sets to 0. The source sets up to
        20; a few features carry most of the difference of CLIP's means.

    random_state : int, RandomState instance or None, default=None
        Seed of the random unit vector.

    Attributes
    ----------
    x_mean_, y_mean_ : ndarray of shape (n_features_in_,) and (n_features_y,)
        Means of the views seen during `fit`.

    x_directions_, y_directions_ : ndarray of shape (n_directions, n_features)
        Orthonormal directions that are projected out of each view, none for the three
        methods that move only.

    x_offset_, y_offset_ : ndarray of shape (n_features_in_,) and (n_features_y,)
        What is added to each view after that.

    n_features_in_ : int
        Number of features of X seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features of X seen during `fit`, if all are strings.

    y_feature_names_in_ : ndarray of shape (n_features_y,) or None
        Names of features of y seen during `fit`, None unless all are strings.

    See Also
    --------
    ModalityFilter : Sets latents of a single view to zero.
    skxsae.metrics.modality_gap_report : Measures what is left of the gap.

    Notes
    -----
    Lengths are not restored afterwards: cosines do not depend on them, but the distance
    of the means of other data does. In a pipeline the steps before see X only; give
    both views the same treatment before `fit`.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendices I and L.
    .. [2] W. Liang, Y. Zhang, Y. Kwon, S. Yeung and J. Zou, "Mind the gap:
       understanding the modality gap in multi-modal contrastive representation
       learning", NeurIPS 2022.
    .. [3] S. Schrodi, D. T. Hoffmann, M. Argus, V. Fischer and T. Brox, "Two effects,
       one trigger: on the modality gap, object bias, and information imbalance in
       contrastive vision-language models", ICLR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.interventions import ModalityGapRemover
    >>> X, y = np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 5.0], [0.0, 7.0]])
    >>> remover = ModalityGapRemover(method="shift").fit(X, y)
    >>> moved_x, moved_y = remover.transform(X, y)
    >>> moved_x
    array([[0., 3.],
           [2., 3.]])
    >>> moved_y
    array([[1., 2.],
           [1., 4.]])
    """

    _parameter_constraints: dict = {
        "method": [StrOptions(set(_METHODS))],
        "n_coordinates": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, method="center", *, n_coordinates=2, random_state=None):
        self.method = method
        self.n_coordinates = n_coordinates
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the means of both views.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            First view.

        y : array-like of shape (n_samples_y, n_features_y)
            Second view. Rows need not be paired. As wide as `X` but for "center" and
            "project_means".

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If `y` is missing, or the widths differ where they must not.
        """
        view_x = check_view(self, X, reset=True)
        view_y = check_second_view(self, y)
        widths = view_x.shape[1], view_y.shape[1]
        if widths[0] != widths[1] and self.method not in _OF_ANY_WIDTH:
            raise ValueError(
                f"X has {widths[0]} features and y has {widths[1]}: "
                f"method={self.method!r} needs views of one space. Use 'center' or "
                "'project_means'."
            )
        means = [_mean(view_x), _mean(view_y)]
        directions, offsets = _METHODS[self.method](self, means)
        self.y_feature_names_in_ = _get_feature_names(y)
        self.x_mean_, self.y_mean_ = means
        self.x_directions_, self.y_directions_ = directions
        self.x_offset_, self.y_offset_ = offsets
        return self

    def transform(self, X, y=None):
        """Move the first view, or both.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            First view.

        y : array-like of shape (n_samples_y, n_features_y) or None, default=None
            Second view. For this view alone, use `transform_y`.

        Returns
        -------
        X_moved : ndarray of shape (n_samples, n_features_in_) or tuple of two
            The first view; with `y`, both.
        """
        check_is_fitted(self)
        rows = check_view(self, X, reset=False)
        moved = _moved(rows, self.x_directions_, self.x_offset_)
        if y is None:
            return moved
        return moved, self.transform_y(y)

    def transform_y(self, y):
        """Move the second view.

        Parameters
        ----------
        y : array-like of shape (n_samples_y, n_features_y)
            Second view.

        Returns
        -------
        y_moved : ndarray of shape (n_samples_y, n_features_y)
            The second view.

        Raises
        ------
        ValueError
            If features have other names, or another order, than in `fit`.
        """
        check_is_fitted(self)
        rows = check_second_view(self, y, n_features=len(self.y_mean_))
        check_names(y, self.y_feature_names_in_, "the y of fit")
        moved = _moved(rows, self.y_directions_, self.y_offset_)
        # scikit-learn wraps the first of two outputs only, and names it as X
        named = copy.copy(self)
        named.n_features_in_ = moved.shape[1]
        _check_feature_names(named, y, reset=True)
        return _wrap_data_with_container("transform", moved, y, named)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags


def _nothing_projected(means):
    """No direction in either view."""
    return [np.empty((0, len(mean))) for mean in means]


def _unit(direction, size=0.0):
    """A direction of unit length, or zeros if there is only rounding of that size."""
    length = np.linalg.norm(direction)
    return direction / length if length > _ROUNDING * size else 0.0 * direction


def _mean(X):
    """Mean row in float64, block by block; zeros for rows that were centred before."""
    total, squares = np.zeros(X.shape[1]), 0.0
    for rows in row_blocks(X):
        block = np.asarray(X[rows], dtype=np.float64)
        total += block.sum(axis=0)
        squares += np.square(block).sum()
    mean, length = total / X.shape[0], np.sqrt(squares / X.shape[0])
    return mean if np.linalg.norm(mean) > _ROUNDING * length else 0.0 * mean


def _moved(X, directions, offset):
    """Rows without their parts along directions, plus an offset."""
    moved = np.empty(X.shape, dtype=np.result_type(X, np.float32))
    for rows in row_blocks(X):
        block = np.asarray(X[rows], dtype=np.float64)
        if len(directions):
            block = block - (block @ directions.T) @ directions
        moved[rows] = block + offset
    return moved
