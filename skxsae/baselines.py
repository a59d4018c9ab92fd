"""Dictionaries of classical methods with codes as sparse as those of an autoencoder."""

from numbers import Integral

import numpy as np
from sklearn import config_context
from sklearn.base import _fit_context
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import (
    NMF,
    PCA,
    FastICA,
    MiniBatchDictionaryLearning,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from skxsae._encoding import Encoder
from skxsae._fitting import resolve_n_latents
from skxsae._quiet import quiet
from skxsae._topk_sae import TopKSAE
from skxsae._validation import check_view, unchanged_on_error
from skxsae._views import NORMALIZATIONS, View, fit_normalization

__all__ = ["SparseBaseline"]

_BATCH_SIZE = 1024


def _pca(rows, n_components, options):
    """Principal axes."""
    seed = options["random_state"]
    model = PCA(n_components, random_state=seed).fit(rows)
    return model, model.components_


def _ica(rows, n_components, options):
    """Columns of the mixing matrix of independent components."""
    model = FastICA(n_components, whiten="unit-variance", **options).fit(rows)
    return model, model.mixing_.T


def _nmf(rows, n_components, options):
    """Signed directions from the positive and the negative part beside each other."""
    parts = np.hstack([np.maximum(rows, 0), np.maximum(-rows, 0)])
    init = "nndsvda" if n_components <= min(parts.shape) else "random"
    model = NMF(n_components, init=init, **options).fit(parts)
    n_features = rows.shape[1]
    halves = model.components_[:, :n_features], model.components_[:, n_features:]
    return model, halves[0] - halves[1]


def _kmeans(rows, n_components, options):
    """Centres of clusters, seen from the mean."""
    options = {**options, "batch_size": _BATCH_SIZE, "n_init": 1}
    model = MiniBatchKMeans(n_components, **options).fit(rows)
    return model, model.cluster_centers_


def _dictionary(rows, n_components, options):
    """Atoms of dictionary learning with non-negative codes."""
    rows = rows.astype(np.float64)
    length = np.sqrt(np.mean(np.einsum("ij,ij->i", rows, rows)))
    model = MiniBatchDictionaryLearning(
        n_components,
        # Mairal et al. (2009) take 1.2 / sqrt(n_features) for rows of unit length
        alpha=1.2 * (length or 1.0) / np.sqrt(rows.shape[1]),
        fit_algorithm="cd",
        positive_code=True,
        batch_size=min(_BATCH_SIZE, len(rows)),
        **options,
    )
    # one for each sample whose code, in between, is not exact
    with quiet(category=ConvergenceWarning):
        model.fit(rows)
    return model, model.components_


_METHODS = {
    "pca": _pca,
    "ica": _ica,
    "nmf": _nmf,
    "kmeans": _kmeans,
    "dictionary": _dictionary,
}
_WITH_SIGN = {"pca", "ica"}  # each component is two latents, one for each sign


class SparseBaseline(TopKSAE):
    """Dictionary of a classical method behind the codes of a sparse autoencoder.

    The directions come from scikit-learn; the codes are non-negative, with at most `k`
    active latents per sample, and found by orthogonal matching pursuit, so that methods
    differ in their dictionary alone. All that takes a :class:`TopKSAE` takes this too:
    every score, and :class:`PostHocAlignedSAE` as the autoencoder of a view.

    Parameters
    ----------
    method : {"pca", "ica", "nmf", "kmeans", "dictionary"}, default="pca"
        Where the directions come from:

        - "pca": :class:`sklearn.decomposition.PCA`. A component is two latents, one for
          each sign, so that codes are non-negative;
        - "ica": the mixing matrix of :class:`sklearn.decomposition.FastICA`, with two
          latents for each component;
        - "nmf": :class:`sklearn.decomposition.NMF` of the positive and negative parts
          of centred samples beside each other, which gives signed directions with
          non-negative codes, as semi-NMF does;
        - "kmeans": the centres of :class:`sklearn.cluster.MiniBatchKMeans`, as
          directions from the mean;
        - "dictionary": :class:`sklearn.decomposition.MiniBatchDictionaryLearning` with
          non-negative codes.

    n_latents : int or "auto", default="auto"
        Size of the dictionary. "auto" is that of :class:`TopKSAE`, but for "pca" and
        "ica" no more than there are: twice the smaller number of samples and features.

    k : int, default=32
        Largest number of active latents per sample. Under ``n_latents="auto"`` it is
        capped as in :class:`TopKSAE`.

    max_iter : int, default=200
        Largest number of iterations, or passes, of the method. Not used by "pca".

    normalize : {"scale", "center", "center_l2", "l2", "standard"} or None, \
            default="scale"
        What is done to samples first, see :class:`TopKSAE`.

    transform_algorithm : {"omp", "mp", "encoder"}, default="omp"
        How `transform` finds codes: by orthogonal matching pursuit; by matching
        pursuit; or by keeping the `k` largest of the positive products with
        ``encoder_``, which is cheap and right for "pca" only.

    sparse_output : bool, default=True
        Whether `transform` returns a sparse CSR container or an ndarray.

    device : str, default="auto"
        Torch device of `transform`. The method itself runs on the CPU.

    random_state : int, RandomState instance or None, default=None
        Seed of the method.

    Attributes
    ----------
    n_latents_ : int
        Size of the dictionary.

    k_ : int
        Largest number of active latents per sample.

    components_ : ndarray of shape (n_latents_, n_features_in_)
        Unit-norm direction of each latent, in normalised space. A row of zeros is a
        latent that the method did not find, such as a centre at the mean.

    encoder_ : ndarray of shape (n_latents_, n_features_in_)
        The directions; for "ica" the rows that undo the mixing.

    encoder_bias_ : ndarray of shape (n_latents_,)
        Zeros.

    mean_ : ndarray of shape (n_features_in_,)
        Mean of the normalised samples.

    offset_ : ndarray of shape (n_features_in_,)
        What `normalize` subtracts, in the units of the input.

    scale_ : ndarray of shape () or (n_features_in_,)
        What `normalize` divides by, in the units of the input.

    unit_length_ : bool
        Whether `normalize` then scales samples to unit length.

    firing_rate_ : ndarray of shape (n_latents_,)
        Share of the training samples on which each latent is active.

    dead_latents_ : ndarray of shape (n_latents_,) of bool
        Latents that are active on no training sample.

    reconstruction_err_ : float
        Fraction of the variance of the training samples that is not explained.

    n_iter_ : int
        Number of iterations of the method, 1 for "pca".

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    TopKSAE : A sparse autoencoder.
    skxsae.model_selection.compare : A table of several estimators.

    Notes
    -----
    The methods hold all samples, normalised, in memory. Dictionary learning and NMF
    take long with thousands of latents.

    Examples
    --------
    >>> from skxsae.baselines import SparseBaseline
    >>> from skxsae.datasets import make_paired_features
    >>> X = make_paired_features(1000, n_features=32, n_shared=32, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0).X
    >>> for method in ("pca", "kmeans"):
    ...     baseline = SparseBaseline(method, n_latents=64, k=4, random_state=0).fit(X)
    ...     codes = baseline.transform(X)
    ...     print(codes.shape, int(codes.count_nonzero(axis=1).max()))
    (1000, 64) 4
    (1000, 64) 4
    """

    _parameter_constraints: dict = {
        "method": [StrOptions(set(_METHODS))],
        "n_latents": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "k": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "normalize": [StrOptions(NORMALIZATIONS), None],
        "transform_algorithm": [StrOptions({"omp", "mp", "encoder"})],
        "sparse_output": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
    }

    # what the encoder of an autoencoder asks for
    activation_ = "topk"
    positive_code = True
    precision = "float32"

    def __init__(
        self,
        method="pca",
        n_latents="auto",
        k=32,
        *,
        max_iter=200,
        normalize="scale",
        transform_algorithm="omp",
        sparse_output=True,
        device="auto",
        random_state=None,
    ):
        self.method = method
        self.n_latents = n_latents
        self.k = k
        self.max_iter = max_iter
        self.normalize = normalize
        self.transform_algorithm = transform_algorithm
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the dictionary.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_error(self):
            X = check_view(self, X, reset=True, min_samples=2)
            self.n_latents_, self.k_ = self._sizes(X)
            normalization = fit_normalization(self.normalize, [X])
            rows = View(X, normalization, "cpu")[:].numpy()
            self.offset_ = normalization.offset.astype(rows.dtype)
            self.scale_ = np.asarray(normalization.scale, dtype=rows.dtype)
            self.unit_length_ = normalization.unit_length
            self.mean_ = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
            self._learn(rows - self.mean_)
            encoder = Encoder(self, X, self.device)
            codes = encoder.codes()
            self.firing_rate_ = (codes != 0).mean(axis=0)
            self.dead_latents_ = self.firing_rate_ == 0
            self.reconstruction_err_ = 1 - encoder.explained_variance(codes)
        return self

    @available_if(lambda self: False)
    def partial_fit(self, X, y=None):
        """Not available: the methods learn from all samples at once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : Ignored
            Not used, present for API consistency by convention.
        """

    def _sizes(self, X):
        """Numbers of latents and of active latents."""
        n_latents, k = resolve_n_latents(self.n_latents, self.k, [X])
        if self.method == "kmeans" and n_latents > len(X):
            raise ValueError(
                f"n_latents={n_latents} must be <= n_samples={len(X)} with "
                "method='kmeans': a cluster has a sample at least. Use 'auto', or more "
                "samples."
            )
        most = 2 * min(X.shape)
        if self.method not in _WITH_SIGN or n_latents <= most:
            return n_latents, k
        if self.n_latents != "auto":
            raise ValueError(
                f"n_latents={n_latents} must be <= {most} with method={self.method!r}: "
                f"{X.shape[0]} samples of {X.shape[1]} features have {most // 2} "
                "components of two signs each. Use 'auto', or another method."
            )
        return most, min(k, most)

    def _learn(self, rows):
        """Directions of centred rows, of unit length, and what undoes them."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        options = {"max_iter": self.max_iter, "random_state": seed}
        with_sign = self.method in _WITH_SIGN
        n_components = -(-self.n_latents_ // 2) if with_sign else self.n_latents_
        try:
            # constant samples make scikit-learn divide by 0 in what is not used here
            with config_context(array_api_dispatch=False), np.errstate(all="ignore"):
                model, directions = _METHODS[self.method](rows, n_components, options)
            if not np.isfinite(directions).all():
                raise ValueError("the directions have NaN or infinity")
        except ValueError as error:
            raise ValueError(
                f"method={self.method!r} finds no directions: {error}. Samples may be "
                "too large or too small for their floating type: normalize='scale' or "
                "float64 may help."
            ) from error
        self.n_iter_ = int(getattr(model, "n_iter_", 1))
        directions = _unit_rows(directions)
        encoder = np.linalg.pinv(directions).T if with_sign else directions
        if with_sign:
            directions, encoder = _both_signs(directions), _both_signs(encoder)
        self.components_ = directions[: self.n_latents_].astype(rows.dtype)
        self.encoder_ = encoder[: self.n_latents_].astype(rows.dtype)
        self.encoder_bias_ = np.zeros(self.n_latents_, dtype=rows.dtype)


def _unit_rows(directions):
    """Rows of unit length in float64; those of rounding alone become zeros."""
    directions = np.asarray(directions, dtype=np.float64)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    is_zero = lengths <= 1e-6 * lengths.max(initial=0.0)
    return np.where(is_zero, 0.0, directions / np.where(is_zero, 1.0, lengths))


def _both_signs(rows):
    """Each row followed by its negative."""
    return np.stack([rows, -rows], axis=1).reshape(-1, rows.shape[1])
