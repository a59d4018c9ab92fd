"""What the two-view estimators share once their views are fitted."""

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._metadata_requests import UNUSED
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import (
    _check_feature_names,
    check_is_fitted,
    validate_data,
)

from skxsae._callbacks import CallbackSupportMixin
from skxsae._distributed import ALONE, peers
from skxsae._encoding import as_container
from skxsae._validation import (
    check_same_fit,
    check_same_length,
    check_second_view,
    check_view,
)


class TwoViewMixin(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
):
    """Transforms of an estimator with fitted `x_sae_` and `y_sae_`."""

    # the arguments of inverse_transform are no metadata
    __metadata_request__inverse_transform = {"Zx": UNUSED, "Zy": UNUSED}

    def _check_training_views(self, X, y, groups=None):
        """Both views and the codes of the groups, validated."""
        group = peers()
        with group.agreeing():
            X = check_view(self, X, reset=True, min_samples=2, peers=group)
            y = check_second_view(self, y, min_samples=2, peers=group)
            groups = check_same_length(X, y, groups)
        check_same_fit(self, [X, y], group, groups)
        return X, y, groups

    def _check_views(self, X, y, peers=ALONE):
        """Both views of new samples, validated."""
        check_is_fitted(self)
        X = check_view(self, X, reset=False, peers=peers)
        y = self._check_y(y, peers)
        check_same_length(X, y)
        return X, y

    def _check_y(self, y, peers=ALONE):
        """The second view of new samples, validated."""
        n_features = self.y_sae_.n_features_in_
        view = check_second_view(self, y, n_features=n_features, peers=peers)
        _check_feature_names(self.y_sae_, y, reset=False)
        return view

    def transform(self, X, y=None):
        """Encode one view, or both.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            First view.

        y : array-like of shape (n_samples, n_features_y) or None, default=None
            Second view. To encode it alone, use ``y_sae_.transform(y)``.

        Returns
        -------
        Z : {ndarray, sparse container} of shape (n_samples, n_latents) or tuple of two
            Codes of X; with `y`, the codes of X and those of y, whose columns mean the
            same thing.
        """
        if y is None:
            check_is_fitted(self)
            return self._encode_alone(check_view(self, X, reset=False))
        names = y
        codes_x, codes_y = self._encode_pair(*self._check_views(X, y))
        # scikit-learn wraps the first of two outputs only
        return codes_x, _wrap_data_with_container("transform", codes_y, names, self)

    def _encode_alone(self, X):
        """Codes of the first view without the second."""
        return self._encode(self.x_sae_, X)

    def _encode_pair(self, X, y):
        """Codes of both views."""
        return self._encode(self.x_sae_, X), self._encode(self.y_sae_, y)

    def _encode(self, sae, X):
        """Codes of one view in the container that was asked for."""
        return as_container(sae._encode(X, self.device), self.sparse_output)

    def inverse_transform(self, Zx, Zy=None):
        """Decode the codes of one view, or of both.

        Parameters
        ----------
        Zx : {array-like, sparse matrix} of shape (n_samples, n_latents)
            Codes of the first view.

        Zy : {array-like, sparse matrix} of shape (n_samples, n_latents) or None, \
                default=None
            Codes of the second view.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features_in_) or tuple of two
            Reconstruction of X; with `Zy`, also that of y.
        """
        check_is_fitted(self)
        X = self.x_sae_.inverse_transform(Zx)
        return X if Zy is None else (X, self.y_sae_.inverse_transform(Zy))

    def score(self, X, y):
        """Mean explained variance of the two views.

        It grows with `k`, and says nothing of how well the views are aligned: to
        choose `k`, use a retrieval score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            First view.

        y : array-like of shape (n_samples, n_features_y)
            Second view.

        Returns
        -------
        score : float
            1 for a perfect reconstruction of both views.
        """
        return sum(self._explained_variances(*self._check_views(X, y))) / 2

    def _explained_variances(self, X, y):
        """Explained variance of each view."""
        return (
            self.x_sae_._explained_variance(X, self.device),
            self.y_sae_._explained_variance(y, self.device),
        )

    @property
    def _n_features_out(self):
        return self.x_sae_.n_latents_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        return tags


def set_input_features(sae, X):
    """Let a single-view estimator know the width and the names of its input."""
    validate_data(sae, X, skip_check_array=True, reset=True)
    return sae
