"""One dictionary shared by two views, with a training-time alignment term."""

import copy
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names

from skxsae._couplings import COUPLINGS
from skxsae._encoding import Encoder, as_container
from skxsae._fitting import fit_dictionary
from skxsae._losses import ALIGNMENTS
from skxsae._streaming import forget_options, go_on
from skxsae._topk_sae import TopKSAE
from skxsae._two_views import TwoViewMixin, set_input_features
from skxsae._validation import (
    check_same_length,
    check_second_view,
    check_view,
    unchanged_on_error,
)
from skxsae._views import View, compute_dtype


class PairedSAE(TwoViewMixin, BaseEstimator):
    """Sparse autoencoder whose latents are shared by two views while it is trained.

    By default both views, of the same width, pass through the same encoder and decoder.
    The loss is the sum of their reconstruction losses and of `alignment_weight` times
    an alignment term, which draws the two codes of a pair together. Other couplings
    give each view, of any width, an encoder and a decoder of its own.

    Parameters
    ----------
    n_latents : int or "auto", default="auto"
        Size of the dictionary, see :class:`TopKSAE`.

    k : int, default=32
        Number of active latents per sample and view.

    coupling : {"shared", "cross_reconstruction", "global_topk", "crosscoder"}, \
            default="shared"
        What the views share:

        - "shared": encoder, decoder and latents;
        - "cross_reconstruction": the latents. In each step one view, drawn at random,
          encodes, and the decoder of every view reconstructs its own member of the
          pair: the universal autoencoder [4]_;
        - "global_topk": the latents. In training the sum of the pre-activations of
          both views chooses the active latents of both, and each code reconstructs
          both views [5]_; `transform` encodes each view alone, for the sum would
          tell a query which sample is its partner;
        - "crosscoder": the code, which comes from the sum of both encoders [6]_.
          `transform` needs both views, and its two outputs are the same code. The two
          directions of a latent have unit norm together, which weights activations
          by the root of the summed squares of the norms and not by their sum.

    alignment : {"auto", "none", "iso_energy", "iso_energy_masked", "inner_product", \
            "group_sparse"} or callable, default="auto"
        Alignment term: nothing, minus the cosine of the two codes [2]_, the same
        without the strongest latent of either view (what the authors ran), minus their
        inner product (what Proposition 2 of [1]_ is about), or the sum over latents of
        the norm of the pair of activations [3]_. A callable takes two dense tensors of
        shape (batch, n_latents) and returns a scalar tensor. "auto" is "group_sparse"
        with ``coupling="shared"`` and "none" with any other, of which "global_topk"
        alone takes a term.

    alignment_weight : float or "auto", default="auto"
        Weight of the alignment term against the sum of the two reconstruction losses.
        "auto" takes the published weight, 2e-4 for the iso-energy terms and 0.1 for
        "group_sparse", which goes with ``loss="fvu"`` only, and 1 for a callable.
        For "inner_product" there is none. See
        :func:`skxsae.model_selection.select_alignment_weight`.

    mask_rate : float, default=0.0
        Share of the latents that are hidden from both members of a pair in each
        training step, drawn anew for every pair [3]_.

    statistics : {"per_view", "pooled"}, default="per_view"
        Whether each view has its own pre-bias and its own statistics of `normalize`,
        which removes the gap between the two means, or both, of the same width, share
        those of all rows.

    activation : {"topk", "batch_topk", "relu", "jumprelu", "matching_pursuit"}, \
            default="topk"
        Which latents are active, see :class:`TopKSAE`. With "batch_topk" and
        ``coupling="shared"`` both views compete for the same budget. "global_topk"
        takes "topk" only.

    loss : {"fvu", "mse_sum", "mse_mean"}, default="fvu"
        Reconstruction loss of each view.

    max_iter : int or "auto", default="auto"
        Number of passes over the training pairs.

    batch_size : int, default=1024
        Largest number of pairs in a gradient step.

    learning_rate : float, default=5e-4
        Largest step size of AdamW.

    schedule : {"cosine", "constant"}, default="cosine"
        Step size over the fit.

    aux_k : int, default=None
        Number of dead latents in the auxiliary loss; None means half the width.

    aux_weight : float, default=1/32
        Weight of the auxiliary loss that revives dead latents; 0 turns it off.

    normalize : {"scale", "center", "center_l2", "l2", "standard"} or None, \
            default="scale"
        What is done to samples before encoding.

    fit_intercept : bool, default=True
        Whether to learn pre-biases, which are 0 otherwise.

    transform_algorithm : {"auto", "encoder", "mp", "omp"}, default="auto"
        How `transform` finds codes, see :class:`TopKSAE`. It is read by `fit`: after
        that, set it on ``x_sae_`` and ``y_sae_``.

    positive_code : bool, default=True
        Whether the codes of matching pursuit are non-negative, see :class:`TopKSAE`.

    precision : {"float32", "tf32", "bf16", "int8", "screen"}, default="float32"
        What the product of samples and encoder is computed in, see :class:`TopKSAE`.

    sparse_output : bool, default=True
        Whether `transform` returns sparse CSR containers or ndarrays.

    device : str, default="auto"
        Torch device of `fit` and `transform`.

    random_state : int, RandomState instance or None, default=None
        Seed of the initial dictionary, of the order of the pairs and of the mask.

    Attributes
    ----------
    x_sae_, y_sae_ : TopKSAE
        The fitted autoencoder of each view: the same dictionary with the pre-bias and
        the normalisation of the view, or its own. Under ``coupling="crosscoder"`` it
        has one half of the code's encoder and decoder, whose rows have unit norm
        together, and its `transform` gives what that half alone makes of a sample.

    coupling_ : str
        The coupling that was fitted.

    n_iter_ : int
        Number of passes.

    loss_curve_ : list of float
        Mean loss of each pass.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features of X seen during `fit`, if all are strings.

    See Also
    --------
    PostHocAlignedSAE : One dictionary for each view, aligned afterwards.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", equations 10 and 11.
    .. [2] Dhimoïla et al., iso-energy alignment, 2026, equation 1.
    .. [3] Kaushik et al., group-sparse autoencoders, 2026.
    .. [4] H. Thasarathan et al., "Universal sparse autoencoders: interpretable
       cross-model concept alignment", 2025, arXiv:2502.03714.
    .. [5] A. Nasiri-Sarvi et al., "SPARC: concept-aligned sparse autoencoders for
       cross-model and cross-modal interpretability", 2025, arXiv:2507.06265.
    .. [6] J. Lindsey et al., "Sparse crosscoders for cross-layer features and model
       diffing", Transformer Circuits Thread, 2024.

    Examples
    --------
    >>> from skxsae import PairedSAE
    >>> from skxsae.datasets import make_paired_features
    >>> data = make_paired_features(1000, n_features=32, n_shared=32, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0)
    >>> sae = PairedSAE(n_latents=64, k=4, max_iter=50, random_state=0)
    >>> codes_x, codes_y = sae.fit(data.X, data.y).transform(data.X, data.y)
    >>> codes_x.shape, codes_y.shape
    ((1000, 64), (1000, 64))
    """

    _parameter_constraints: dict = {
        **TopKSAE._parameter_constraints,
        "coupling": [StrOptions(set(COUPLINGS))],
        "alignment": [StrOptions({"auto", "none", *ALIGNMENTS}), callable],
        "alignment_weight": [
            Interval(Real, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "mask_rate": [Interval(Real, 0, 1, closed="left")],
        "statistics": [StrOptions({"per_view", "pooled"})],
    }

    def __init__(
        self,
        n_latents="auto",
        k=32,
        *,
        coupling="shared",
        alignment="auto",
        alignment_weight="auto",
        mask_rate=0.0,
        statistics="per_view",
        activation="topk",
        loss="fvu",
        max_iter="auto",
        batch_size=1024,
        learning_rate=5e-4,
        schedule="cosine",
        aux_k=None,
        aux_weight=1 / 32,
        normalize="scale",
        fit_intercept=True,
        transform_algorithm="auto",
        positive_code=True,
        precision="float32",
        sparse_output=True,
        device="auto",
        random_state=None,
    ):
        self.n_latents = n_latents
        self.k = k
        self.coupling = coupling
        self.alignment = alignment
        self.alignment_weight = alignment_weight
        self.mask_rate = mask_rate
        self.statistics = statistics
        self.activation = activation
        self.loss = loss
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.aux_k = aux_k
        self.aux_weight = aux_weight
        self.normalize = normalize
        self.fit_intercept = fit_intercept
        self.transform_algorithm = transform_algorithm
        self.positive_code = positive_code
        self.precision = precision
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the shared latents from pairs.

        The processes of a ``torch.distributed`` group, if one is initialised, learn
        them together: each must call `fit`, on the same pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            First view.

        y : array-like of shape (n_samples, n_features_y)
            Second view: row i is the partner of row i of X.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_error(self):
            view_x, view_y, _ = self._check_training_views(X, y)
            self._check_coupling(view_x, view_y)
            attributes = self._reconstruct(fit_dictionary(self, [view_x, view_y]))
            self._n_features_of_y = view_y.shape[1]
            forget_options(self)
            self.__dict__.update(attributes)
            set_input_features(self.x_sae_, X)
            set_input_features(self.y_sae_, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Go on learning from more pairs, see :meth:`TopKSAE.partial_fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Further samples of the first view.

        y : array-like of shape (n_samples, n_features_y)
            Their partners.

        Returns
        -------
        self : object
            The estimator.
        """
        # scikit-learn validates before the first call only
        self._validate_params()
        with unchanged_on_error(self):
            first = not hasattr(self, "n_features_in_")
            view_x = check_view(self, X, reset=first)
            of_y = getattr(self, "_n_features_of_y", None)
            view_y = check_second_view(self, y, n_features=of_y)
            check_same_length(view_x, view_y)
            self._check_coupling(view_x, view_y)
            fitted = [self.x_sae_, self.y_sae_] if hasattr(self, "x_sae_") else []
            for sae in fitted[1:]:
                _check_feature_names(sae, y, reset=False)
            has_learnt = go_on(self, [view_x, view_y], fitted)
            self._n_features_of_y = view_y.shape[1]
            if has_learnt:
                set_input_features(self.x_sae_, X)
                set_input_features(self.y_sae_, y)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "x_sae_")

    def _check_coupling(self, X, y):
        """Refuse what cannot be coupled, before anything is trained."""
        widths_differ = X.shape[1] != y.shape[1]
        if self.coupling != "shared" and self.statistics == "pooled" and widths_differ:
            raise ValueError(
                f"X has {X.shape[1]} features and y has {y.shape[1]}: "
                "statistics='pooled' needs views of the same width."
            )
        if self.coupling == "shared":
            if widths_differ:
                raise ValueError(
                    f"X has {X.shape[1]} features and y has {y.shape[1]}: PairedSAE "
                    "needs views of the same width, for it has one dictionary. Other "
                    "couplings and PostHocAlignedSAE take views of any widths."
                )
            return
        if self.coupling == "global_topk":
            if self.activation != "topk":
                raise ValueError(
                    "coupling='global_topk' needs activation='topk', got "
                    f"{self.activation!r}."
                )
            return
        for name, off in (("alignment", ("auto", "none")), ("mask_rate", (0,))):
            if getattr(self, name) not in off:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} needs a code of each view in "
                    f"every step, which coupling={self.coupling!r} does not make."
                )

    def _encode_alone(self, X):
        """Codes of the first view without the second."""
        if self.coupling_ == "crosscoder":
            raise ValueError(
                "A crosscoder has one code for both views: pass y too. What one half "
                "of it makes of one view is x_sae_.transform(X)."
            )
        return super()._encode_alone(X)

    def _encode_pair(self, X, y):
        """Codes of both views."""
        if self.coupling_ != "crosscoder":
            return super()._encode_pair(X, y)
        codes = as_container(self._joint_encoder(X, y).codes(), self.sparse_output)
        return codes, codes.copy()

    def _explained_variances(self, X, y):
        """Explained variance of each view."""
        if self.coupling_ != "crosscoder":
            return super()._explained_variances(X, y)
        codes = self._joint_encoder(X, y).codes()
        return (
            Encoder(self.x_sae_, X, self.device).explained_variance(codes),
            Encoder(self.y_sae_, y, self.device).explained_variance(codes),
        )

    def fit_transform(self, X, y=None):
        """Fit, and encode the training samples of the first view.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            First view.

        y : array-like of shape (n_samples, n_features_y)
            Second view.

        Returns
        -------
        Z : {ndarray, sparse container} of shape (n_samples, n_latents)
            Codes of X; the joint code of both views if it is a crosscoder.
        """
        self.fit(X, y)
        if self.coupling_ == "crosscoder":
            return self.transform(X, y)[0]
        return self.transform(X)

    def _joint_encoder(self, X, y):
        """The two halves of a crosscoder beside each other, and the views as well."""
        saes = self.x_sae_, self.y_sae_
        joint = copy.copy(self.x_sae_)
        joint.transform_algorithm = self.transform_algorithm
        for name in ("encoder_", "components_"):
            setattr(joint, name, np.hstack([getattr(sae, name) for sae in saes]))
        joint.mean_ = np.concatenate([sae.mean_ for sae in saes])
        views = [
            View(view, sae._normalization(), "cpu")
            for view, sae in zip((X, y), saes, strict=True)
        ]
        rows = _SideBySide(views)
        joint.offset_ = np.zeros(rows.shape[1], rows.dtype)
        joint.scale_, joint.unit_length_ = np.ones((), rows.dtype), False
        return Encoder(joint, rows, self.device)

    def _reconstruct(self, attributes):
        """Fitted attributes from those of each view."""
        saes = []
        for of_view in attributes:
            params = self.get_params(deep=False)
            sae = TopKSAE(**{name: params[name] for name in TopKSAE().get_params()})
            sae.__dict__.update(of_view, n_features_in_=len(of_view["mean_"]))
            if self.coupling == "crosscoder":
                # pursuit needs unit directions, which the halves have together only
                sae.transform_algorithm = "encoder"
            saes.append(sae)
        return {
            "coupling_": self.coupling,
            "x_sae_": saes[0],
            "y_sae_": saes[1],
            "n_iter_": saes[0].n_iter_,
            "loss_curve_": saes[0].loss_curve_,
        }


class _SideBySide:
    """Normalised rows of views beside each other, as an array that is read by rows."""

    def __init__(self, views):
        self.views = views
        self.shape = len(views[0]), sum(view.X.shape[1] for view in views)
        self.dtype = compute_dtype(*(view.X for view in views))

    def __getitem__(self, rows):
        return np.hstack([view[rows].numpy() for view in self.views])
