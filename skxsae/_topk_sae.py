"""A sparse autoencoder for one view."""

from numbers import Integral, Real

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array
from sklearn.utils._metadata_requests import UNUSED
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skxsae._activations import ACTIVATIONS
from skxsae._callbacks import CallbackSupportMixin
from skxsae._distributed import peers
from skxsae._encoding import Encoder, as_container
from skxsae._fitting import fit_dictionary
from skxsae._losses import LOSSES
from skxsae._picking import PRECISIONS
from skxsae._streaming import forget_options, go_on
from skxsae._validation import (
    FLOATS,
    check_same_fit,
    check_view,
    unchanged_on_error,
    without_torch,
)
from skxsae._views import (
    NORMALIZATIONS,
    Normalization,
)


class TopKSAE(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Sparse autoencoder that keeps the `k` most active latents of each sample.

    A normalised sample ``x`` is encoded as ``a = encoder_ @ (x - mean_) +
    encoder_bias_``, of which only the `k` largest positive entries are kept, and
    decoded as ``components_.T @ a + mean_``. The rows of ``components_`` have unit
    norm.

    Parameters
    ----------
    n_latents : int or "auto", default="auto"
        Size of the dictionary. "auto" takes a power of two: about one latent for eight
        distinct rows, but no more than about eight for each feature.

    k : int, default=32
        Number of active latents per sample: at most `k` with "topk" and
        "matching_pursuit" as the `activation`, `k` on average with the others. Under
        ``n_latents="auto"`` it is capped at one latent in sixteen.

    activation : {"topk", "batch_topk", "relu", "jumprelu", "matching_pursuit"}, \
            default="topk"
        Which latents are active:

        - "topk": the `k` largest of each sample [1]_;
        - "batch_topk": the ``k * n_samples`` largest of a batch [2]_; `transform` uses
          the fitted ``threshold_``, so that a code never depends on the rows beside it;
        - "relu": all that are positive; the weight of an L1 penalty is steered so that
          `k` are on average;
        - "jumprelu": those above a trained threshold for each latent [3]_; the weight
          of an L0 penalty is steered so that `k` are on average;
        - "matching_pursuit": those that `k` greedy steps on the dictionary pick; no
          encoder is trained, and ``encoder_`` is the dictionary [4]_.

    loss : {"fvu", "mse_sum", "mse_mean"}, default="fvu"
        Reconstruction loss: squared error over the total variance of the batch,
        squared error summed over features, or averaged over features.

    max_iter : int or "auto", default="auto"
        Number of passes over the training data. "auto" takes as many as show about
        a million rows, and at least ten.

    batch_size : int, default=1024
        Largest number of samples in a gradient step, at least 2. A pass is cut into
        batches of equal size, and no sample is left out.

    learning_rate : float, default=5e-4
        Largest step size of AdamW.

    schedule : {"cosine", "constant"}, default="cosine"
        Step size over the fit: linear warm-up over 5 % of the steps and cosine decay
        to zero, or constant.

    aux_k : int, default=None
        Number of dead latents that rebuild the residual of a sample in the auxiliary
        loss. None means half the number of features.

    aux_weight : float, default=1/32
        Weight of the auxiliary loss that revives dead latents; 0 turns it off.

    normalize : {"scale", "center", "center_l2", "l2", "standard"} or None, \
            default="scale"
        What is done to samples before encoding, at fit and at transform: "scale"
        subtracts the mean and divides by one number, the root mean square length;
        "center" subtracts the mean; "l2" scales rows to unit length; "center_l2" does
        the one, then the other; "standard" gives each feature mean 0 and variance 1.

    fit_intercept : bool, default=True
        Whether to learn the pre-bias ``mean_``, which starts at the mean of the
        normalised data. It is 0 otherwise.

    transform_algorithm : {"auto", "encoder", "mp", "omp"}, default="auto"
        How `transform` finds codes: by what was trained, by the encoder, or by
        (orthogonal) matching pursuit on the dictionary with non-negative codes of at
        most `k` latents. Pursuit reconstructs better than an encoder with as many
        latents on every sample, and takes longer. It needs the
        products of all pairs of directions, ``4 * n_latents_ ** 2`` bytes.

    positive_code : bool, default=True
        Whether the codes of matching pursuit are non-negative. Only used by
        ``activation="matching_pursuit"`` and ``transform_algorithm="mp"``; all other
        codes always are.

    precision : {"float32", "tf32", "bf16", "int8", "screen"}, default="float32"
        What the product of samples and encoder is computed in, at fit and at
        transform. Anything but "float32" only picks a few more candidates than are
        needed, whose activations are then computed in the floating type of X:

        - "float32": the floating type of X, float64 if that is what X is;
        - "screen": bfloat16, and a bound on its error proves that no other latent
          is among the largest; samples for which it does not are done in full. Codes
          are those of "float32", in less time;
        - "tf32", "bf16", "int8": without a proof, so that now and then a latent at the
          edge of the `k` largest may be missed. "tf32" is for GPUs and is "float32"
          elsewhere.

        Pursuit does without the product. Where a threshold says what is active, the
        product is "float32" in any case: with "relu" and "jumprelu", and at transform
        with "batch_topk".

    sparse_output : bool, default=True
        Whether `transform` returns a sparse CSR container or an ndarray.

    device : str, default="auto"
        Torch device of `fit` and `transform`. "auto" takes CUDA if there is any.

    random_state : int, RandomState instance or None, default=None
        Seed of the initial dictionary and of the order of the samples. The same seed
        gives the same model on the same machine with the same number of threads.

    Attributes
    ----------
    n_latents_ : int
        Size of the dictionary.

    k_ : int
        Target number of active latents per sample.

    components_ : ndarray of shape (n_latents_, n_features_in_)
        Decoder: the unit-norm direction of each latent, in normalised space.

    encoder_ : ndarray of shape (n_latents_, n_features_in_)
        Encoder weights.

    encoder_bias_ : ndarray of shape (n_latents_,)
        Encoder bias.

    mean_ : ndarray of shape (n_features_in_,)
        Pre-bias, in normalised space: subtracted before encoding, added after decoding.

    offset_ : ndarray of shape (n_features_in_,)
        What `normalize` subtracts, in the units of the input.

    scale_ : ndarray of shape () or (n_features_in_,)
        What `normalize` divides by, in the units of the input.

    unit_length_ : bool
        Whether `normalize` then scales samples to unit length.

    activation_ : str
        The activation that was fitted.

    threshold_ : float or ndarray of shape (n_latents_,)
        What an activation must exceed to count. With ``activation="batch_topk"`` the
        moving average, with rate 0.01, of the smallest one that each batch kept; with
        "jumprelu" the trained threshold of each latent. Only with these.

    firing_rate_ : ndarray of shape (n_latents_,)
        Share of the samples on which each latent was active in the last pass.

    dead_latents_ : ndarray of shape (n_latents_,) of bool
        Latents that were never active in the last pass.

    reconstruction_err_ : float
        Fraction of the variance of the training samples that was not explained, on
        average over the last pass.

    loss_curve_ : list of float
        Mean loss of each pass.

    translation_ : Translation
        What adds the latents of the other view to a code. Only of the views of a
        :class:`PostHocAlignedSAE` with a soft assignment.

    n_iter_ : int
        Number of passes.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`, if all are strings.

    See Also
    --------
    PostHocAlignedSAE : One autoencoder for each of two views, aligned afterwards.
    PairedSAE : One dictionary shared by two views.
    sklearn.decomposition.MiniBatchDictionaryLearning : Coding without encoder.

    References
    ----------
    .. [1] L. Gao et al., "Scaling and evaluating sparse autoencoders", 2024,
       arXiv:2406.04093.
    .. [2] B. Bussmann, P. Leask and N. Nanda, "BatchTopK sparse autoencoders", 2024,
       arXiv:2412.06410.
    .. [3] S. Rajamanoharan et al., "Jumping ahead: improving reconstruction fidelity
       with JumpReLU sparse autoencoders", 2024, arXiv:2407.14435.
    .. [4] V. Costa et al., "From flat to hierarchical: extracting sparse
       representations with matching pursuit", 2025, arXiv:2506.03093.

    Examples
    --------
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import make_paired_features
    >>> X = make_paired_features(1000, n_features=32, n_shared=32, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0).X
    >>> sae = TopKSAE(n_latents=64, k=4, max_iter=50, random_state=0).fit(X)
    >>> codes = sae.transform(X)
    >>> codes.shape, int(codes.count_nonzero(axis=1).max())
    ((1000, 64), 4)
    """

    # the argument of inverse_transform is no metadata
    __metadata_request__inverse_transform = {"Z": UNUSED}

    _parameter_constraints: dict = {
        "n_latents": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "k": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [StrOptions(set(LOSSES))],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"cosine", "constant"})],
        "aux_k": [Interval(Integral, 1, None, closed="left"), None],
        "aux_weight": [Interval(Real, 0, None, closed="left")],
        "normalize": [StrOptions(NORMALIZATIONS), None],
        "fit_intercept": ["boolean"],
        "transform_algorithm": [StrOptions({"auto", "encoder", "mp", "omp"})],
        "positive_code": ["boolean"],
        "precision": [StrOptions(set(PRECISIONS))],
        "sparse_output": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_latents="auto",
        k=32,
        *,
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
        """Learn the dictionary.

        The processes of a ``torch.distributed`` group, if one is initialised, learn it
        together: each must call `fit`, on the same samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples. A float array, also a memory-mapped one of float16, is
            read batch by batch and never copied as a whole.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_error(self):
            group = peers()
            with group.agreeing():
                X = check_view(self, X, reset=True, min_samples=2, peers=group)
            check_same_fit(self, [X], group)
            attributes = self._reconstruct(fit_dictionary(self, [X]))
            forget_options(self)
            self.__dict__.update(attributes)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Go on learning from more samples.

        Samples are used in the order in which they come, once each and always
        `batch_size` at a time; what is left over waits for the next call. The model
        is thus the same, bit for bit, whatever way a stream of samples is cut. It is
        not fitted before the first `batch_size` samples have come: they fix
        `normalize`, the first directions and the scale of the encoder, unless `fit`
        was called before, whose model is then continued. All is computed in the
        floating type of the first samples (float32 for float16). The step size is
        `learning_rate` throughout, latents count as dead after 262,144 silent samples,
        and ``n_latents="auto"`` is about eight latents for each feature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Further training samples.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The estimator. ``loss_curve_`` has the loss of each batch, ``n_iter_`` is
            their number, ``firing_rate_`` is over all samples of the stream, and
            ``reconstruction_err_`` the mean over the last 100 batches.
        """
        # scikit-learn validates before the first call only
        self._validate_params()
        with unchanged_on_error(self):
            X = check_view(self, X, reset=not hasattr(self, "n_features_in_"))
            fitted = [self] if hasattr(self, "components_") else []
            go_on(self, [X], fitted)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "components_")

    def _reconstruct(self, attributes):
        """Fitted attributes from those of each view."""
        return attributes[0]

    def transform(self, X):
        """Encode samples as sparse codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Samples.

        Returns
        -------
        Z : CSR array or ndarray of shape (n_samples, n_latents_)
            Codes of the floating type of X (float32 for any other). They are
            non-negative, but for those of pursuit with ``positive_code=False``.
        """
        check_is_fitted(self)
        X = check_view(self, X, reset=False)
        return as_container(self._encode(X, self.device), self.sparse_output)

    def _encode(self, X, device):
        """Codes of samples that were checked before, as a CSR array."""
        codes = self._own_codes(X, device)
        translation = getattr(self, "translation_", None)
        return codes if translation is None else codes + translation(codes, device)

    def _own_codes(self, X, device):
        """Codes without what is translated from them."""
        return Encoder(self, X, device).codes()

    def _normalization(self):
        """The normalisation that was fitted."""
        return Normalization(self.offset_, self.scale_, self.unit_length_)

    def inverse_transform(self, Z):
        """Decode codes.

        Parameters
        ----------
        Z : {array-like, sparse matrix} of shape (n_samples, n_latents_)
            Codes.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features_in_)
            Reconstructed samples, in the units of the input. A length that "l2" or
            "center_l2" took away comes back as 1.
        """
        check_is_fitted(self)
        Z = check_array(
            without_torch(Z), accept_sparse="csr", dtype=FLOATS, input_name="Z"
        )
        if Z.shape[1] != self.n_latents_:
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but this {type(self).__name__} has "
                f"{self.n_latents_} latents."
            )
        return self._normalization().invert(self._decode(Z))

    def _decode(self, Z):
        """Reconstruction in normalised space."""
        return Z @ self.components_.astype(Z.dtype) + self.mean_.astype(Z.dtype)

    def score(self, X, y=None):
        """Explained variance: 1 minus the squared error over the total variance.

        One ratio over all samples, in normalised space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Samples.

        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        score : float
            1 for a perfect reconstruction, 0 for one by the mean of X.
        """
        check_is_fitted(self)
        X = check_view(self, X, reset=False)
        return self._explained_variance(X, self.device)

    def _explained_variance(self, X, device):
        """Explained variance of samples that were checked before."""
        return Encoder(self, X, device).explained_variance()

    @property
    def _n_features_out(self):
        return self.n_latents_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags
