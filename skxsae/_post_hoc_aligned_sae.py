"""One sparse autoencoder for each view, aligned after training by co-activation."""

import logging
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from skxsae._alignment import (
    DistinctRows,
    adds_up,
    fit_from_sums,
    match_table,
    own_columns,
    reordered,
)
from skxsae._callbacks import ViewCallbacks
from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._distributed import peers
from skxsae._fitting import resolve_n_latents
from skxsae._topk_sae import TopKSAE
from skxsae._two_views import TwoViewMixin, set_input_features
from skxsae._validation import (
    check_same_fit,
    check_same_length,
    check_view,
    unchanged_on_error,
)

logger = logging.getLogger("skxsae")
TINY = np.finfo(float).tiny


class PostHocAlignedSAE(TwoViewMixin, BaseEstimator):
    """One sparse autoencoder per view, whose latents are matched after training.

    Each view is learnt on its own, so that nothing is lost in reconstruction. The
    correlation of every latent of X with every latent of y over the training pairs then
    gives the one-to-one matching with the largest total correlation, and the latents of
    y are renumbered: column j means the same thing in both views.

    Columns ``0 .. m_x - 1`` are the latents of X in their own order; latents of y that
    found no partner follow in theirs. A latent that is absent from a view is never
    active there.

    With ``matcher=CoactivationMatcher(assignment="soft")`` the latents of y all stand
    behind those of X, and a code has two parts: the latents of its own view, and their
    translation into latents of the other. One-to-one matching keeps a single partner of
    each latent; the translation keeps all, which retrieves better (see the user guide).
    Decoding uses a view's own latents only and is the same either way.

    Parameters
    ----------
    n_latents : int or "auto", default="auto"
        Size of the dictionary of each view. "auto" takes for both what
        :class:`TopKSAE` takes for the smaller view.

    k : int, default=32
        Number of active latents per sample of each view.

    max_iter : int or "auto", default="auto"
        Number of passes over the training samples of each view.

    x_sae : TopKSAE, FrozenEstimator or None, default=None
        Autoencoder of the first view; None means a :class:`TopKSAE` with the
        parameters above. A ``FrozenEstimator`` of a fitted one is not fitted again.

    y_sae : TopKSAE, FrozenEstimator or None, default=None
        Autoencoder of the second view, which may differ in size, activation and
        normalisation.

    matcher : CoactivationMatcher or None, default=None
        How latents are matched; None means ``CoactivationMatcher()``.

    sparse_output : bool, default=True
        Whether `transform` returns sparse CSR containers or ndarrays.

    device : str, default="auto"
        Torch device of `transform`, and of `fit` where no autoencoder is given. "auto"
        takes CUDA if there is any.

    random_state : int, RandomState instance or None, default=None
        Seed of those of `x_sae`, `y_sae` and `matcher` that have none of their own.

    Attributes
    ----------
    x_sae_, y_sae_ : TopKSAE
        The fitted autoencoder of each view, in aligned order: each is an ordinary
        single-view transformer with `n_aligned_` latents.

    matcher_ : CoactivationMatcher
        The fitted matcher, which takes codes of y in their own order to those of X.

    matches_ : DataFrame with a row for each match
        "x_latent" (which is its column in the aligned codes),
        "y_latent" (its number in the order in which y's autoencoder was trained), the
        score, under the name of the matcher's metric (by default "correlation"),
        "low" and "high" (its bootstrap interval, if the matcher has `n_bootstrap`),
        "margin" over the best other partner of either latent, "mutual" (each is the
        other's best), "above_noise" (the score beats the noise floor),
        "false_match_share" (what share of the matches that score no lower chance is
        expected to make) and "decoder_cosine" (cosine of the two directions in the
        units of the input, NaN if the views differ in width).

    n_aligned_ : int
        Number of columns of the aligned codes.

    n_iter_ : int
        Number of passes, the larger of the two views.

    n_features_in_ : int
        Number of features of X seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features of X seen during `fit`, if all are strings.

    See Also
    --------
    CoactivationMatcher : The matching alone, for any codes.
    PairedSAE : One dictionary shared by both views.

    Notes
    -----
    In ``make_pipeline(StandardScaler(), PostHocAlignedSAE())`` the scaler sees X only;
    the `normalize` parameter of :class:`TopKSAE` treats each view.

    Where a view is a :class:`~skxsae.datasets.DiskArray` that is larger than its
    buffer, or several processes fit together, pairs are encoded part by part and the
    latents are matched from float64 sums: the same matching but for rounding, in memory
    that does not depend on the number of pairs. The null is then drawn within parts of
    65,536 pairs or more, from blocks at random places, as often as would be right if
    every latent of the smaller view were matched; `n_bootstrap` must be 0. `realign`
    does the same, and so must be called by all processes, if there are several.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", section 6, equations 8 and 12.

    Examples
    --------
    >>> from skxsae import PostHocAlignedSAE
    >>> from skxsae.datasets import make_paired_features
    >>> data = make_paired_features(2000, n_features=32, n_shared=32, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, sparsity=0.95, random_state=0)
    >>> sae = PostHocAlignedSAE(n_latents=64, k=4, max_iter=100, random_state=0)
    >>> codes_x, codes_y = sae.fit(data.X, data.y).transform(data.X, data.y)
    >>> codes_x.shape == codes_y.shape == (2000, sae.n_aligned_)
    True
    """

    _parameter_constraints: dict = {
        "n_latents": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "k": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "x_sae": [TopKSAE, FrozenEstimator, None],
        "y_sae": [TopKSAE, FrozenEstimator, None],
        "matcher": [CoactivationMatcher, None],
        "sparse_output": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_latents="auto",
        k=32,
        *,
        max_iter="auto",
        x_sae=None,
        y_sae=None,
        matcher=None,
        sparse_output=True,
        device="auto",
        random_state=None,
    ):
        self.n_latents = n_latents
        self.k = k
        self.max_iter = max_iter
        self.x_sae = x_sae
        self.y_sae = y_sae
        self.matcher = matcher
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, groups=None):
        """Learn both dictionaries, then match their latents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            First view.

        y : array-like of shape (n_samples, n_features_y)
            Second view: row i is the partner of row i of X.

        groups : array-like of shape (n_samples,) or None, default=None
            What belongs together, such as the image of each caption. A row of either
            view that is repeated within a group is seen once in a pass, and the
            matcher's null re-pairs whole groups.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_on_error(self):
            with peers().agreeing():
                self._check_shorthands()
                if self.matcher is not None:
                    self.matcher._validate_params()  # before anything is trained
            view_x, view_y, groups = self._check_training_views(X, y, groups)
            with peers().agreeing():
                self._check_groups_differ(groups)
                from_sums = self._matches_from_sums(view_x, view_y)
                _check_frozen(self.x_sae, X, view_x.shape[1], "x")
                _check_frozen(self.y_sae, y, view_y.shape[1], "y")
            seeds = self._seeds()
            size = resolve_n_latents(self.n_latents, self.k, [view_x, view_y])
            views = [DistinctRows(view, groups) for view in (view_x, view_y)]
            callbacks = ViewCallbacks(self, X, y)
            x_sae, y_sae = (
                self._fit_view(sae, size, view, seed, callbacks, name)
                for sae, view, seed, name in zip(
                    (self.x_sae, self.y_sae), views, seeds[1:], "xy", strict=True
                )
            )
            self._align(x_sae, y_sae, views, groups, seeds[0], from_sums=from_sums)
            set_input_features(self.x_sae_, X)
            set_input_features(self.y_sae_, y)
            self.n_iter_ = max(x_sae.n_iter_, y_sae.n_iter_)
            callbacks.end_fit()
        return self

    def _seeds(self):
        """Seeds of the matcher and of both autoencoders."""
        rng = peers().random_state(check_random_state(self.random_state))
        return rng.randint(2**31 - 1, size=3).tolist()

    def realign(self, X, y, groups=None):
        """Match the latents anew on other pairs, with the dictionaries as they are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            First view.

        y : array-like of shape (n_samples, n_features_y)
            Second view.

        groups : array-like of shape (n_samples,) or None, default=None
            What belongs together, see `fit`.

        Returns
        -------
        self : object
            The estimator, with latents of y in their new order.
        """
        group = peers()
        with group.agreeing():
            X, y = self._check_views(X, y, group)
            groups = check_same_length(X, y, groups)
            self._check_groups_differ(groups)
            from_sums = self._matches_from_sums(X, y)
        check_same_fit(self, [X, y], group, groups)
        with unchanged_on_error(self):
            x_sae = reordered(self.x_sae_, np.arange(len(self.matcher_.matching_)))
            y_sae = reordered(self.y_sae_, self._columns_of_y())
            views = [DistinctRows(view, groups) for view in (X, y)]
            seed = self._seeds()[0]
            self._align(x_sae, y_sae, views, groups, seed, from_sums=from_sums)
        return self

    def _check_groups_differ(self, groups):
        """Refuse, before anything is trained, groups that no null can re-pair."""
        with_null = getattr(self.matcher, "n_null", "auto") != 0
        if groups is not None and with_null and not groups.any():
            raise ValueError(
                "groups has a single value, but the noise floor re-pairs whole groups "
                "and so needs at least 2. Pass groups=None if rows are independent, or "
                "matcher=CoactivationMatcher(n_null=0) to do without the noise floor."
            )

    def _matches_from_sums(self, X, y):
        """Whether codes are only added up, refusing what needs those of all pairs."""
        from_sums = adds_up([X, y])
        if from_sums and getattr(self.matcher, "n_bootstrap", 0):
            raise ValueError(
                f"n_bootstrap={self.matcher.n_bootstrap} needs the codes of all pairs "
                "at once, but they are encoded part by part where a view is larger "
                "than the buffer of its DiskArray or several processes fit together. "
                "Pass n_bootstrap=0, and take intervals from a CoactivationMatcher "
                "that is fitted to the codes of a sample."
            )
        return from_sums

    def _check_shorthands(self):
        """Refuse parameters that an explicit autoencoder would silently ignore."""
        explicit = [name for name in ("x_sae", "y_sae") if getattr(self, name)]
        defaults = type(self)().get_params(deep=False)
        for name in ("n_latents", "k", "max_iter"):
            value = getattr(self, name)
            if explicit and value != defaults[name]:
                raise ValueError(
                    f"{name}={value!r} has no effect on {explicit[0]}, which is given. "
                    f"Set it in {explicit[0]}, or leave x_sae and y_sae out."
                )

    def _fit_view(self, sae, size, view, seed, callbacks, name):
        """A fitted autoencoder of one view."""
        if isinstance(sae, FrozenEstimator):
            return sae.estimator
        if sae is None:
            sae = TopKSAE(*size, max_iter=self.max_iter, device=self.device)
        sae = clone(sae)
        if sae.random_state is None:
            sae.set_params(random_state=seed)
        callbacks.fit(sae, view.X, name)
        return sae

    def _align(self, x_sae, y_sae, views, groups, seed, *, from_sums):
        """Match the latents of two fitted autoencoders and renumber those of y."""
        matcher = CoactivationMatcher() if self.matcher is None else clone(self.matcher)
        if matcher.random_state is None:
            matcher.set_params(random_state=seed)
        directions = None
        if matcher.metric == "decoder_cosine":
            directions = [sae.scale_ * sae.components_ for sae in (y_sae, x_sae)]
        if from_sums:
            saes, views = (y_sae, x_sae), views[::-1]
            options = directions, self.device, seed
            fit_from_sums(matcher, saes, views, groups, *options)
        else:
            codes_x, codes_y = (
                view.codes(sae, self.device)
                for view, sae in zip(views, (x_sae, y_sae), strict=True)
            )
            asked = {} if directions is None else {"directions": directions}
            matcher.fit(codes_y, codes_x, groups=groups, **asked)
        self.matcher_ = matcher
        self.matches_ = match_table(matcher, x_sae, y_sae)
        logger.info(
            "%s: %d of %d and %d latents matched, %d above the noise floor of %.3g",
            type(self).__name__,
            len(self.matches_),
            x_sae.n_latents_,
            y_sae.n_latents_,
            self.matches_["above_noise"].sum(),
            matcher.noise_floor_,
        )
        order = self._order_of_y()
        self.n_aligned_ = len(order)
        columns_of_x = np.arange(x_sae.n_latents_)
        absent = np.full(self.n_aligned_ - x_sae.n_latents_, -1)
        self.x_sae_ = reordered(x_sae, np.append(columns_of_x, absent))
        self.y_sae_ = reordered(y_sae, order)
        if matcher.assignment == "soft":
            places = self._columns_of_y(), columns_of_x
            self.y_sae_.translation_ = matcher.translation_.placed(*places, len(order))
            self.x_sae_.translation_ = matcher.reference_translation_.placed(
                *places[::-1], len(order)
            )

    def _order_of_y(self):
        """Latent of y in each aligned column, -1 where there is none."""
        matcher = self.matcher_
        if matcher.assignment == "soft":
            absent = np.full(len(matcher.matching_), -1)
            return np.append(absent, np.arange(matcher.n_features_in_))
        return np.append(matcher.matching_, matcher.unmatched_)

    def _columns_of_y(self):
        """Aligned column of each latent of y, in their own order."""
        return own_columns(self._order_of_y())

    def describe(self, X, view="x"):
        """Tell what makes up the code of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A few samples of one view.

        view : {"x", "y"}, default="x"
            Which view they belong to.

        Returns
        -------
        description : DataFrame
            A row for each active latent of each sample, the strongest share first:
            "sample", "latent" (its column in the aligned codes), "activation", "share"
            of the reconstruction (they sum to 1 over a sample), and the score, margin
            and `above_noise` of its match (NaN, NaN and False if it has none).
        """
        check_is_fitted(self)
        if view not in ("x", "y"):
            raise ValueError(f"view={view!r} must be 'x' or 'y'.")
        sae = self.x_sae_ if view == "x" else self.y_sae_
        X = check_view(self, X, reset=False) if view == "x" else self._check_y(X)
        codes = sae._own_codes(X, self.device).tocoo()
        rebuilt = (codes.tocsr() @ sae.components_.astype(codes.dtype)).astype(float)
        parts = codes.data * np.einsum(
            "ij,ij->i", sae.components_[codes.col].astype(float), rebuilt[codes.row]
        )
        table = pd.DataFrame(
            {
                "sample": codes.row,
                "latent": codes.col,
                "activation": codes.data,
                "share": parts / np.square(rebuilt).sum(axis=1)[codes.row],
            }
        )
        quality = self.matches_[[self.matcher_.metric, "margin", "above_noise"]]
        table = table.join(quality.set_index(self._matched_columns(view)), on="latent")
        table["above_noise"] = table["above_noise"].eq(True)
        return table.sort_values(
            ["sample", "share"], ascending=[True, False], ignore_index=True
        )

    def _matched_columns(self, view):
        """Aligned column of the latent of each match, in one of the views."""
        if view == "x":
            return self.matches_["x_latent"].to_numpy()
        return self._columns_of_y()[self.matches_["y_latent"]]

    def explain_pair(self, x, y):
        """Tell which concepts make two samples similar.

        The similarity is the cosine of their aligned codes, as in
        :func:`skxsae.metrics.recall_at_k_score`. It is a sum over pairs of an active
        latent of x and an active latent of y.

        Parameters
        ----------
        x : array-like of shape (n_features_in_,)
            A sample of the first view.

        y : array-like of shape (n_features_y,)
            A sample of the second view.

        Returns
        -------
        explanation : DataFrame
            A row for each pair of latents that contributes, the largest contribution
            first: "x_latent" and "y_latent", numbered as in ``matches_``, their
            activations "x_activation" and "y_activation", and "contribution". The
            contributions sum to the similarity.

        Examples
        --------
        >>> from skxsae import CoactivationMatcher, PostHocAlignedSAE
        >>> from skxsae.datasets import make_paired_features
        >>> data = make_paired_features(2000, n_features=32, n_shared=32, n_x_only=0,
        ...     n_y_only=0, max_interference=0.7, sparsity=0.95, random_state=0)
        >>> sae = PostHocAlignedSAE(n_latents=64, k=4, max_iter=100, random_state=0,
        ...     matcher=CoactivationMatcher(assignment="soft")).fit(data.X, data.y)
        >>> table = sae.explain_pair(data.X[0], data.y[0])
        >>> bool(0 < table["contribution"].sum() <= 1)
        True
        """
        check_is_fitted(self)
        x, y = _single_sample(x, "x"), _single_sample(y, "y")
        x, y = check_view(self, x, reset=False), self._check_y(y)
        saes = self.x_sae_, self.y_sae_
        own = [
            sae._own_codes(view, self.device)
            for sae, view in zip(saes, (x, y), strict=True)
        ]
        columns = [codes.indices for codes in own]
        weights = self._pair_weights(own, columns)
        activations = [codes.data.astype(float) for codes in own]
        lengths = [
            np.linalg.norm(sae._encode(view, self.device).data.astype(float))
            for sae, view in zip(saes, (x, y), strict=True)
        ]
        parts = weights * np.outer(*activations) / max(np.prod(lengths), TINY)
        row, column = np.nonzero(parts)
        y_latent = self._order_of_y()[columns[1]]
        table = pd.DataFrame(
            {
                "x_latent": columns[0][row],
                "y_latent": y_latent[column],
                "x_activation": activations[0][row],
                "y_activation": activations[1][column],
                "contribution": parts[row, column],
            }
        )
        return table.sort_values("contribution", ascending=False, ignore_index=True)

    def _pair_weights(self, own, columns):
        """What each pair of active latents adds to the product of two aligned codes."""
        if self.matcher_.assignment != "soft":
            return np.equal.outer(*columns).astype(float)
        to_y, to_x = self.x_sae_.translation_, self.y_sae_.translation_
        kept_y = np.isin(columns[1], to_y(own[0], self.device).indices)
        kept_x = np.isin(columns[0], to_x(own[1], self.device).indices)
        through_y = to_y.pairs(*columns).astype(float) * kept_y
        through_x = to_x.pairs(*columns[::-1]).astype(float).T * kept_x[:, None]
        return through_y + through_x


def _single_sample(sample, name):
    """One sample as an array of one row."""
    shape = np.shape(sample)
    if len(shape) > 2 or (len(shape) == 2 and shape[0] != 1):
        raise ValueError(f"{name} must be one sample, got shape {shape}.")
    return sample if len(shape) == 2 else np.reshape(sample, (1, -1))


def _check_frozen(sae, X, n_features, name):
    """Refuse a frozen autoencoder that cannot encode X, before anything is trained."""
    if not isinstance(sae, FrozenEstimator):
        return
    sae = sae.estimator
    if not isinstance(sae, TopKSAE):
        raise TypeError(
            f"{name}_sae must hold a fitted TopKSAE, got FrozenEstimator of "
            f"{type(sae).__name__}."
        )
    check_is_fitted(
        sae,
        msg=f"The frozen {name}_sae is a %(name)s that was not fitted: fit it first.",
    )
    if sae.n_features_in_ != n_features:
        raise ValueError(
            f"The view {name} has {n_features} features, but the frozen {name}_sae is "
            f"expecting {sae.n_features_in_}."
        )
    _check_feature_names(sae, X, reset=False)
