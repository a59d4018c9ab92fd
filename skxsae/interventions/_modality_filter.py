"""Codes without the latents of a single view."""

import warnings
from numbers import Real

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import (
    _get_feature_names,
    check_is_fitted,
    validate_data,
)

from skxsae._concepts import both_autoencoders
from skxsae._encoding import as_container
from skxsae._matches import check_finite_codes
from skxsae._validation import FLOATS, without_torch
from skxsae.interventions._names import check_names
from skxsae.metrics import bimodal_latents, modality_score

# which latents, by their scores and the mask of the bimodal ones
_KEEP = {
    "bimodal": lambda scores, bimodal: bimodal,
    "x_only": lambda scores, bimodal: ~bimodal & (scores > 0.5),
    "y_only": lambda scores, bimodal: ~bimodal & (scores < 0.5),
    "unimodal": lambda scores, bimodal: ~bimodal & ~np.isnan(scores),
}


class ModalityFilter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Filter that sets the latents of some kind to zero, in the codes of two views.

    The kind of a latent is told by its modality score: the share of its energy that the
    first view has. By default the latents that both views use are kept, which takes out
    what tells the views apart [1]_. Columns keep their places, so that the
    `inverse_transform` of the autoencoder takes the filtered codes.

    Parameters
    ----------
    keep : {"bimodal", "x_only", "y_only", "unimodal"}, default="bimodal"
        Latents to keep: those of both views, with a score from `tau` to ``1 - tau``, of
        the first view alone, of the second alone, or of either alone. Latents that were
        never active are never kept.

    tau : float, default=0.05
        Smallest share of the energy that makes a latent one of a view. At most 0.5.

    p : float, default=2
        Power of the energy, see :func:`skxsae.metrics.energy`.

    Attributes
    ----------
    modality_scores_ : ndarray of shape (n_features_in_,)
        1 for a latent of the first view alone, 0 for one of the second alone, NaN for
        one that was never active.

    support_ : ndarray of shape (n_features_in_,)
        Mask of the latents that are kept.

    n_features_in_ : int
        Number of latents seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of latents seen during `fit`, if all are strings.

    See Also
    --------
    bimodal_reconstruction : Embeddings from codes, filtered by a mask.
    ModalityGapRemover : Ways to move embeddings that need no latents.
    skxsae.metrics.modality_score : The score.

    Notes
    -----
    In a pipeline the steps before the filter see the first view only, so that it would
    be fitted on the codes of X and on y itself. Fit it on the codes of both views, and
    put it into pipelines as ``FrozenEstimator(filter)``.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, section 5.

    Examples
    --------
    Latent 0 is one of the first view, latent 1 of the second, latent 2 of both.

    >>> import numpy as np
    >>> from skxsae.interventions import ModalityFilter
    >>> codes_x = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    >>> codes_y = np.array([[0.0, 4.0, 1.0], [0.0, 1.0, 2.0]])
    >>> kept = ModalityFilter().fit(codes_x, codes_y)
    >>> kept.support_
    array([False, False,  True])
    >>> kept.transform(codes_x)
    array([[0., 0., 2.],
           [0., 0., 0.]])
    """

    _parameter_constraints: dict = {
        "keep": [StrOptions(set(_KEEP))],
        "tau": [Interval(Real, 0, 0.5, closed="both")],
        "p": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, *, keep="bimodal", tau=0.05, p=2):
        self.keep = keep
        self.tau = tau
        self.p = p

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn which latents belong to which view.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_latents)
            Codes of the first view.

        y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
            Codes of the second view, with the same columns. Rows need not be paired.

        Returns
        -------
        self : object
            The fitted filter.

        Raises
        ------
        ValueError
            If `y` is missing, or the numbers or the names of the latents differ.

        Warns
        -----
        UserWarning
            If some of `y` is negative and nothing of `X` is, as where a step before the
            filter in a pipeline has encoded `X` only.
        """
        names = _get_feature_names(X)
        X = self._check_codes(X)
        codes_y = self._check_second_codes(y, X.shape[1])
        check_names(y, names, "X")
        y = codes_y
        _warn_if_no_codes(X, y)
        self.modality_scores_ = modality_score(X, y, p=self.p)
        bimodal = bimodal_latents(self.modality_scores_, tau=self.tau)
        self.support_ = _KEEP[self.keep](self.modality_scores_, bimodal)
        return self

    def transform(self, X, y=None):
        """Set all other latents to zero.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_latents)
            Codes of either view.

        y : {array-like, sparse matrix} of shape (n_samples_y, n_latents) or None, \
                default=None
            Codes of the second view. Rows need not be paired.

        Returns
        -------
        Z : {ndarray, sparse container} of shape (n_samples, n_latents) or tuple of two
            Filtered codes, CSR for sparse ones; with `y`, those of both views.
        """
        check_is_fitted(self)
        codes = self._check_codes(X, reset=False)
        if y is None:
            return _keep_columns(codes, self.support_)
        codes_y = self._check_second_codes(y, self.n_features_in_)
        check_names(y, getattr(self, "feature_names_in_", None), "fit")
        kept_y = _keep_columns(codes_y, self.support_)
        # scikit-learn wraps the first of two outputs only
        return (
            _keep_columns(codes, self.support_),
            _wrap_data_with_container("transform", kept_y, y, self),
        )

    def _check_codes(self, X, **checks):
        """Codes of the first view, validated."""
        _refuse_pair(X, "X")
        X = validate_data(
            self,
            without_torch(X),
            accept_sparse="csr",
            dtype=FLOATS,
            ensure_all_finite=False,
            **checks,
        )
        check_finite_codes(X, "X")
        return X

    def _check_second_codes(self, y, n_latents):
        """Codes of the second view, validated."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None: y is the codes of the second view."
            )
        _refuse_pair(y, "y")
        y = check_array(
            without_torch(y),
            accept_sparse="csr",
            dtype=FLOATS,
            ensure_all_finite=False,
            ensure_2d=False,
            input_name="y",
            estimator=self,
        )
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        check_finite_codes(y, "y")
        if y.shape[1] != n_latents:
            raise ValueError(
                f"y has {y.shape[1]} columns and X has {n_latents}: both must be codes "
                "over the same latents. A step before the filter in a pipeline encodes "
                "X only: fit the filter on the codes of both views, and put it into "
                "the pipeline as FrozenEstimator(filter)."
            )
        return y

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = True
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags


def _refuse_pair(codes, name):
    """Refuse the codes of both views in place of those of one."""
    if isinstance(codes, tuple) and len(codes) == 2 and np.ndim(codes[0]) == 2:
        raise ValueError(
            f"{name} is a tuple of two arrays, as transform(X, y) of an estimator "
            "returns: pass the codes of each view on their own, as in "
            "fit(*sae.transform(X, y))."
        )


def _warn_if_no_codes(X, y):
    """Warn that y is hardly codes if it is negative where X is not."""
    values = [codes.data if sparse.issparse(codes) else codes for codes in (X, y)]
    if values[1].min(initial=0) < 0 <= values[0].min(initial=0):
        warnings.warn(
            "y has negative entries and X has none: y must be the codes of the second "
            "view, not its embeddings. In a pipeline the steps before see X only: fit "
            "the filter on its own, and put it in as FrozenEstimator(filter). Codes of "
            "both views are of one sign if positive_code is the same.",
            UserWarning,
            stacklevel=4,
        )


_OFFSETS = {
    "zero": lambda own, common: 0.0 * own,
    "common": lambda own, common: common,
    "own": lambda own, common: own,
}


@validate_params(
    {
        "Zx": ["array-like", "sparse matrix"],
        "Zy": ["array-like", "sparse matrix"],
        "support": ["array-like"],
        "offset": [StrOptions(set(_OFFSETS))],
    },
    prefer_skip_nested_validation=True,
)
def bimodal_reconstruction(estimator, Zx, Zy, support, *, offset="zero"):
    """Decode the kept latents of two views: ``(z * support) D``.

    An autoencoder adds a constant to what it decodes: its pre-bias, and the mean that
    it took off. If every view has its own, these constants are a gap of their own, and
    an ``inverse_transform`` of filtered codes leaves it open.

    Parameters
    ----------
    estimator : PairedSAE or PostHocAlignedSAE
        Fitted estimator.

    Zx : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    Zy : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
        Codes of the second view. Rows need not be paired.

    support : array-like of shape (n_latents,)
        Mask of the latents that are kept, such as ``ModalityFilter().support_``.

    offset : {"zero", "common", "own"}, default="zero"
        Constant of each view: none, as in the paper [1]_; the mean of both, which takes
        views of the same width; or its own, as `inverse_transform` has it.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Reconstructions of the first view, in the units of the input.

    y : ndarray of shape (n_samples_y, n_features_y)
        Reconstructions of the second view.

    Raises
    ------
    TypeError
        If the estimator has no autoencoder for each of two views.

    ValueError
        If the codes or the mask do not fit the estimator.

    See Also
    --------
    ModalityFilter : Learns the mask.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, section 5.

    Examples
    --------
    >>> from skxsae import PairedSAE
    >>> from skxsae.datasets import load_emoji
    >>> from skxsae.interventions import ModalityFilter, bimodal_reconstruction
    >>> from skxsae.metrics import mean_difference_gap
    >>> data = load_emoji(subset="train")
    >>> X, y = data.X[:500, :32], data.y[:500, :32] + 1
    >>> sae = PairedSAE(64, k=8, max_iter=5, statistics="pooled", random_state=0)
    >>> codes = sae.fit(X, y).transform(X, y)
    >>> support = ModalityFilter().fit(*codes).support_
    >>> kept = bimodal_reconstruction(sae, *codes, support)
    >>> bool(mean_difference_gap(*kept) < mean_difference_gap(X, y))
    True
    """
    saes = both_autoencoders(estimator)
    support = np.asarray(support)
    n_latents = saes[0].n_latents_
    if support.dtype != bool or support.shape != (n_latents,):
        raise ValueError(
            f"support has type {support.dtype} and shape {support.shape}: it must be a "
            f"mask of booleans of shape ({n_latents},), one for each latent."
        )
    Zx, Zy = (
        _as_codes(codes, name, n_latents) for codes, name in ((Zx, "Zx"), (Zy, "Zy"))
    )
    decoded = [
        sae.inverse_transform(_keep_columns(codes, support))
        for sae, codes in zip(saes, (Zx, Zy), strict=True)
    ]
    # decoding is affine: what no latent at all decodes to is the constant
    own = [sae.inverse_transform(np.zeros((1, n_latents))) for sae in saes]
    if offset == "common" and own[0].shape != own[1].shape:
        raise ValueError(
            f"The views have {own[0].shape[1]} and {own[1].shape[1]} features: "
            "offset='common' needs views of one width. Use 'zero' or 'own'."
        )
    common = (own[0] + own[1]) / 2 if offset == "common" else None
    return tuple(
        (rows + (_OFFSETS[offset](constant, common) - constant)).astype(rows.dtype)
        for rows, constant in zip(decoded, own, strict=True)
    )


def _as_codes(codes, name, n_latents):
    """Codes as CSR or an array of floats, one column for each latent."""
    codes = check_array(
        without_torch(codes), accept_sparse="csr", dtype=FLOATS, input_name=name
    )
    if codes.shape[1] != n_latents:
        raise ValueError(
            f"{name} has {codes.shape[1]} columns, but the estimator has {n_latents} "
            "latents: pass the codes that its transform returns."
        )
    return codes


def _keep_columns(codes, support):
    """Codes with all other columns set to zero; CSR codes do not store them."""
    if not sparse.issparse(codes):
        return np.where(support, codes, codes.dtype.type(0))
    kept = support[codes.indices]
    rows = np.append(0, np.cumsum(kept))[codes.indptr]
    filtered = sparse.csr_array(
        (codes.data[kept], codes.indices[kept], rows.astype(codes.indptr.dtype)),
        shape=codes.shape,
    )
    return as_container(filtered, sparse_output=True)
