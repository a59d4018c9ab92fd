"""Matching of the latents of two views by how they fire together."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skxsae._affinity import METRICS, affinity, direction_affinity, is_alive
from skxsae._assignment import ASSIGNMENTS, best_partners
from skxsae._bootstrap import score_intervals
from skxsae._coactivation import (
    Coactivation,
    Marginals,
    Product,
    as_codes,
    of_latents,
)
from skxsae._encoding import as_container
from skxsae._matches import (
    Matches,
    check_directions,
    check_finite_codes,
    firings,
    margins,
    relabelled,
)
from skxsae._noise_floor import NullMatches, repaired_rows, share_without_partner
from skxsae._pair_sums import PairSums
from skxsae._translation import Statistics, fit_translations, sample_step
from skxsae._validation import (
    FLOATS,
    check_same_length,
    unchanged_on_error,
    without_torch,
)

# with n_null="auto": scores that the quantile is taken of, and passes at most
NULL_SCORES = 1000
NULL_PASSES = 10


class CoactivationMatcher(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Matching of the latents of two views that fire together.

    `X` and `y` are codes of paired samples. Each latent of `X` is matched to at most
    one latent of `y`, the reference, so that the sum of the scores of the matches is
    the largest there is; `transform` puts the columns of `X` in the reference's order.

    The score of latents ``i`` and ``j`` is by default the Pearson correlation of the
    columns ``X[:, i]`` and ``y[:, j]``. All pairs count, also those that never fire
    together and those of negative correlation, but only the sparse product ``X.T @ y``
    is ever computed, in parts if it is large, and it is dropped when `fit` returns.

    Parameters
    ----------
    metric : {"correlation", "absolute_correlation", "cosine", "jaccard", \
            "decoder_cosine"}, default="correlation"
        Score of a pair of latents: Pearson correlation, its absolute value, the cosine
        of the two columns, the samples on which both fire over those on which either
        does, or the cosine of the directions that are given to `fit`.

    assignment : {"hungarian", "greedy", "mutual_nearest", "soft"}, default="hungarian"
        Which pairs are matched: those with the largest sum of scores, exactly; the best
        pair, then the best of the rest, and so on; or only latents that are each
        other's best. The first two match all living latents of the smaller view. "soft"
        matches like "hungarian", but `transform` keeps the latents of both views apart
        and adds to each code its translation into the latents of the other view;
        `metric` and `min_score` then decide on the matches only, and not on the codes.

    min_fires : int, default=10
        Number of samples on which a latent must be active to be matched. Rarer ones
        stay unmatched (a single joint firing gives a correlation of 1), and so do, for
        correlations, latents with the same activation on all samples.

    min_score : float, "noise_floor" or None, default=None
        Matches that score lower are given up, and their latents stay unmatched.

    noise_quantile : float, default=0.99
        Quantile of the scores matched by chance that is taken as the noise floor.

    n_null : int or "auto", default="auto"
        Number of times that samples are re-paired at random and matched again, to find
        out what is matched by chance. "auto" re-pairs until there are 1,000 scores, but
        no more than ten times; 0 leaves the noise floor undefined.

    n_bootstrap : int, default=0
        Number of times that whole groups are drawn with replacement for
        ``score_intervals_``; 0 leaves them undefined.

    n_translated : int or "auto", default="auto"
        With ``assignment="soft"``, the largest number of latents of the other view that
        a translated code has. "auto" takes five times as many as the code itself has on
        average.

    shrinkage : float, default=0.5
        With ``assignment="soft"``, how far the correlations within a view are drawn to
        0 before they are divided out: at 1 latents count as independent. In (0, 1].

    rank : int, default=256
        With ``assignment="soft"``, number of components of the translation, and so its
        size: `rank` numbers for each latent of either view.

    random_state : int, RandomState instance or None, default=None
        Seed of the re-pairing, of the bootstrap and of the iterative solvers of the
        translation.

    Attributes
    ----------
    matching_ : ndarray of shape (n_latents_y,)
        Latent of `X` that each latent of the reference is matched to, -1 if none.

    scores_ : ndarray of shape (n_latents_y,)
        Score of each match, NaN where there is none.

    margins_ : ndarray of shape (n_latents_y,)
        How far the score of each match is above the next best living latent for either
        of its two latents, whichever is closer. Negative where one of them has a better
        partner than its match; NaN where neither has another.

    mutual_ : ndarray of shape (n_latents_y,) of bool
        Whether the two latents of a match are each other's best.

    min_score_ : float
        Lowest score of a match that was kept, minus infinity without `min_score`.

    gap_ : float
        How far the sum of the scores can be below that of the best matching of all,
        before `min_score`: a proof of optimality where it is 0 but for rounding. NaN
        for assignments that seek no optimum.

    noise_floor_ : float
        The `noise_quantile` quantile of the scores that the same assignment matches
        after whole groups were re-paired at random; NaN if nothing was.

    null_scores_ : ndarray of shape (n_scores,)
        Scores that the same assignment matched after samples were re-paired, of all
        `n_null_` times.

    n_null_ : int
        Number of times that samples were re-paired.

    share_without_partner_ : float
        Estimated share of the matches, before `min_score`, whose latents have no true
        partner; NaN without a null.

    above_noise_ : ndarray of shape (n_latents_y,) of bool
        Whether the score of each match is above the noise floor.

    false_match_share_ : ndarray of shape (n_latents_y,)
        Smallest expected share of chance among the matches at which this one is kept:
        the least of ``false_match_share(score).expected`` at its own and all lower
        scores. NaN where there is no match or no null.

    score_intervals_ : ndarray of shape (n_latents_y, 2)
        95 % bootstrap interval of the score of each match, NaN without `n_bootstrap`.
        The latents stay matched as they are: that the best of many is picked is not in
        the interval, but in the noise floor.

    unmatched_ : ndarray of shape (n_latents_x - n_matches,)
        Latents of `X` that are matched to none, in increasing order.

    translation_, reference_translation_ : Translation
        With ``assignment="soft"``, the maps of codes of `X` to latents of the
        reference, and the other way round.

    n_features_in_ : int
        Number of latents of `X`.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the latents of `X` seen during `fit`, if all are strings.

    See Also
    --------
    PostHocAlignedSAE : Two autoencoders, matched by this class.
    scipy.optimize.linear_sum_assignment : The dense form of the matching.

    Notes
    -----
    The matching is solved on a sparse core of promising pairs. Dual prices then tell
    which other pairs could improve it; these join the core until there are none, which
    proves that the matching is optimal among all pairs: ``gap_``.

    For the noise floor no group keeps its partner: groups are re-paired along a random
    ring of groups of equal size or, where there are none, of the nearest size. The rows
    of a group of `X` meet the rows of its new partner in order, starting over where the
    partner has fewer, so that every row of `X` stays. Directions have no rows to
    re-pair: with ``metric="decoder_cosine"`` there is no null.

    One-to-one matching cannot express that one latent of a view corresponds to several
    of the other. With ``assignment="soft"`` a code of `X` is ``[t, z]``: its
    translation into latents of the reference, and itself; a code of the reference is
    ``[z, t]``. The cosine of two such codes is close to the similarity

    .. math:: z_x W z_y / (|z_x W| |z_y W^T|),

    where W is the matrix of correlations between the views after those within each,
    shrunk by `shrinkage`, were divided out (as in canonical correlation analysis), and
    each latent is taken over the root of its standard deviation.

    References
    ----------
    .. [1] R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense
       and sparse linear assignment problems", Computing 38, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from skxsae import CoactivationMatcher
    >>> codes = sparse.random_array((1000, 5), density=0.1, format="csr", rng=0)
    >>> matcher = CoactivationMatcher(random_state=0).fit(codes[:, [3, 0, 4, 1]], codes)
    >>> matcher.matching_
    array([ 1,  3, -1,  0,  2])
    >>> matcher.transform(codes[:, [3, 0, 4, 1]]).shape
    (1000, 5)
    """

    _parameter_constraints: dict = {
        "metric": [StrOptions({*METRICS, "decoder_cosine"})],
        "assignment": [StrOptions({*ASSIGNMENTS, "soft"})],
        "min_fires": [Interval(Integral, 1, None, closed="left")],
        "min_score": [Interval(Real, None, None, closed="neither"), None]
        + [StrOptions({"noise_floor"})],
        "noise_quantile": [Interval(Real, 0, 1, closed="both")],
        "n_null": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
        "n_translated": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "shrinkage": [Interval(Real, 0, 1, closed="right")],
        "rank": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        metric="correlation",
        assignment="hungarian",
        min_fires=10,
        min_score=None,
        noise_quantile=0.99,
        n_null="auto",
        n_bootstrap=0,
        n_translated="auto",
        shrinkage=0.5,
        rank=256,
        random_state=None,
    ):
        self.metric = metric
        self.assignment = assignment
        self.min_fires = min_fires
        self.min_score = min_score
        self.noise_quantile = noise_quantile
        self.n_null = n_null
        self.n_bootstrap = n_bootstrap
        self.n_translated = n_translated
        self.shrinkage = shrinkage
        self.rank = rank
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, groups=None, directions=None):
        """Match the latents of two views.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_latents_x)
            Codes whose columns are to be reordered.

        y : {array-like, sparse matrix} of shape (n_samples, n_latents_y)
            Codes of the paired samples in the reference view.

        groups : array-like of shape (n_samples,), default=None
            Group of each pair, such as the image that several captions belong to.
            Whole groups are re-paired for the noise floor. None means that every pair
            is its own group.

        directions : tuple of two arrays of shape (n_latents, n_features), default=None
            Decoder rows of the latents of `X` and of those of `y`, in one space. Used
            and required by ``metric="decoder_cosine"`` only.

        Returns
        -------
        self : object
            The fitted matcher.

        Raises
        ------
        ValueError
            If `y` is missing, the numbers of samples differ, all samples are of one
            group, or directions are required and missing or do not fit.

        Warns
        -----
        UserWarning
            If nothing can be matched, or fewer than a quarter of the matches are above
            the noise floor.
        """
        with unchanged_on_error(self):
            X = self._check_codes(X, ensure_min_samples=2)
            y = self._check_reference(y)
            groups = check_same_length(X, y, groups)
            self._match(as_codes(X), as_codes(y), groups, directions)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_coactivation(self, coactivation, null=()):
        """Match the latents of two views from sums over their codes.

        The sums may come from any number of batches or machines. What needs the codes
        themselves cannot be had: ``assignment="soft"`` and `n_bootstrap`. The null is
        what is given here, whatever `n_null`.

        Parameters
        ----------
        coactivation : Coactivation
            Sums over paired codes. Under ``metric="jaccard"``, of codes that are 0 or
            1.

        null : sequence of Coactivation, default=()
            Sums over the same codes after pairs were broken at random, such as each
            batch of `y` in another order. None leave the noise floor undefined.

        Returns
        -------
        self : object
            The fitted matcher.

        Raises
        ------
        ValueError
            If a parameter needs the codes themselves, or the sums are not what it
            needs.
        """
        for sums in (coactivation, *null):
            self._check_sums(sums, coactivation)
        for name, needs_codes in (
            ("assignment", self.assignment == "soft"),
            ("metric", self.metric == "decoder_cosine"),
            ("n_bootstrap", self.n_bootstrap > 0),
        ):
            if needs_codes:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} cannot be had from sums alone: "
                    "use fit with the codes."
                )
        with unchanged_on_error(self):
            self._set_matching(
                coactivation.cross.shape,
                self._matches_of_sums(coactivation, with_margins=True),
                [self._matches_of_sums(part).scores for part in null],
            )
            self.n_features_in_ = coactivation.cross.shape[0]
            self.__dict__.pop("feature_names_in_", None)
        return self

    def _check_sums(self, sums, first):
        """Refuse what are no sums over codes of the latents in question."""
        if not isinstance(sums, Coactivation):
            raise TypeError(
                f"coactivation and null must hold Coactivation, got "
                f"{type(sums).__name__}: use Coactivation.from_codes, or fit."
            )
        if sums.cross.shape != first.cross.shape:
            raise ValueError(f"null has {sums}, but coactivation is {first}.")
        if self.metric == "jaccard":
            for view in (sums.x, sums.y):
                if not np.allclose(view.fires, [view.total, view.square]):
                    raise ValueError(
                        "metric='jaccard' counts firings, but these are the sums of "
                        "other codes: use Coactivation.from_codes(X > 0, y > 0)."
                    )

    def _check_codes(self, X, **checks):
        """Validate codes of the view that is reordered."""
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

    def _check_reference(self, y):
        """Validate the codes of the reference view, a 1-D array being one latent."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None: y is the codes of the reference view."
            )
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
        return y

    def _match(self, X, y, groups, directions):
        """Set the fitted attributes from two csr_arrays."""
        shape = X.shape[1], y.shape[1]
        rng = check_random_state(self.random_state)
        groups = np.arange(X.shape[0]) if groups is None else groups
        marginals = Marginals.from_codes(X), Marginals.from_codes(y)
        if self.metric == "decoder_cosine":
            matches, null = self._matches_of_directions(*marginals, directions), []
        else:
            firing_x, firing_y = X, y
            if self.metric == "jaccard":
                firing_x, firing_y = (firings(codes) for codes in (X, y))
            matches = self._matches(firing_x, firing_y, with_margins=True)
            null = self._null_scores(firing_x, firing_y, groups, matches, rng)
        if len(matches.scores) == 0:
            self._warn_unmatched(*marginals)
        self._set_matching(shape, matches, null)
        self._set_intervals(X, y, groups, rng)
        if self.assignment == "soft":
            self._set_translations(Statistics.from_codes(X, y), rng)

    def _set_translations(self, statistics, rng):
        """Set the maps of a soft assignment."""
        self.translation_, self.reference_translation_ = fit_translations(
            statistics,
            min_fires=self.min_fires,
            shrinkage=self.shrinkage,
            rank=self.rank,
            n_active=self.n_translated,
            random_state=rng,
        )

    def _fit_parts(self, parts, n_pairs, shape, peers, directions=None):
        """Match latents from codes that are never in memory all at once.

        Each of the `parts` has the numbers of some of the `n_pairs` pairs, their codes
        of X and of y as csr_arrays of as many columns as `shape` says, and their
        groups or None. Processes that fit together have some of the pairs each, and
        end with the same matcher.
        """
        rng = check_random_state(self.random_state)
        step = sample_step(n_pairs)
        n_x, n_y = shape
        sums = PairSums(self, n_x, n_y, self._n_null(min(shape)))
        with peers.agreeing():
            for rows, X, y, own_groups in parts:
                X, y = as_codes(X), as_codes(y)
                check_finite_codes(X, "X")
                check_finite_codes(y, "y")
                groups = np.arange(len(rows)) if own_groups is None else own_groups
                sums.add(X, y, groups, rows % step == 0, rng)
        sums.total(peers)
        self._match_sums(sums, directions, rng)
        self.__dict__.update(peers.agreed(vars(self)))

    def _match_sums(self, sums, directions, rng):
        """Set the fitted attributes from a `PairSums`."""
        if self.metric == "decoder_cosine":
            matches = self._matches_of_directions(sums.x, sums.y, directions)
        else:
            matching = sums.products["matching"].sums
            matches = self._matches_of_sums(matching, with_margins=True)
        if len(matches.scores) == 0:
            self._warn_unmatched(sums.x, sums.y)
        null = [
            self._matches_of_sums(broken).scores
            for broken in sums.null()
            if broken.x.n_samples
        ]
        self._set_matching((len(sums.x.fires), len(sums.y.fires)), matches, null)
        self.n_features_in_ = len(sums.x.fires)
        self.__dict__.pop("feature_names_in_", None)
        if self.assignment == "soft":
            self._set_translations(sums.statistics(), rng)

    def _matches(self, X, y, *, with_margins=False):
        """Matches between the living latents of two csr_arrays."""
        x, y_sums = (Marginals.from_codes(codes) for codes in (X, y))
        x_alive, y_alive = (self._alive(marginals) for marginals in (x, y_sums))
        product = Product(X[:, x_alive], y[:, y_alive])
        sums = Coactivation(x[x_alive], y_sums[y_alive], product)
        scores = affinity(sums, self.metric)
        return self._matches_of_scores(scores, x_alive, y_alive, with_margins)

    def _matches_of_sums(self, sums, *, with_margins=False):
        """Matches between the living latents of a `Coactivation`."""
        x_alive, y_alive = (self._alive(part) for part in (sums.x, sums.y))
        scores = affinity(of_latents(sums, x_alive, y_alive), self.metric)
        return self._matches_of_scores(scores, x_alive, y_alive, with_margins)

    def _matches_of_directions(self, x, y, directions):
        """Matches between the living latents of two `Marginals` by directions."""
        directions = check_directions(directions, len(x.fires), len(y.fires))
        alive = [np.flatnonzero(view.fires >= self.min_fires) for view in (x, y)]
        scores = direction_affinity(*directions).select(*alive)
        return self._matches_of_scores(scores, alive[0], alive[1], with_margins=True)

    def _alive(self, marginals):
        """Latents that fire often enough and on which the metric is defined."""
        return np.flatnonzero(is_alive(marginals, self.metric, self.min_fires))

    def _matches_of_scores(self, scores, x_alive, y_alive, with_margins):
        """Matches between latents by their scores, numbered as among all latents."""
        if 0 in scores.shape:
            nothing, no_score = np.empty(0, dtype=np.intp), np.empty(0)
            return Matches(nothing, nothing, no_score, no_score, 0.0)
        assignment = "hungarian" if self.assignment == "soft" else self.assignment
        partners = best_partners(scores), best_partners(scores.T)
        x, y, gap = ASSIGNMENTS[assignment](scores, *partners)
        of_pairs = scores.pairs(x, y)
        leads = np.full(len(x), np.nan)
        if with_margins:
            leads = margins(of_pairs, (x, y), partners)
        return Matches(x_alive[x], y_alive[y], of_pairs, leads, gap)

    def _set_matching(self, shape, matches, null):
        """Set the attributes of a matching, with `min_score` and what chance makes."""
        for name in ("translation_", "reference_translation_"):
            self.__dict__.pop(name, None)
        self.null_scores_ = np.concatenate([np.empty(0), *null])
        self.n_null_ = len(null)
        self.share_without_partner_ = share_without_partner(
            matches.scores, self.null_scores_
        )
        self.noise_floor_ = np.nan
        if len(self.null_scores_):
            self.noise_floor_ = float(
                np.quantile(self.null_scores_, self.noise_quantile)
            )
        self.gap_ = float(matches.gap)
        self._warn_noise(matches)
        self.min_score_ = self._lowest_score(len(matches.scores))
        self._set_matches(matches.above(self.min_score_), *shape)

    def _lowest_score(self, n_matches):
        """Lowest score of a match that is kept."""
        if self.min_score is None:
            return -np.inf
        if self.min_score != "noise_floor":
            return self.min_score
        if np.isnan(self.noise_floor_) and n_matches > 0:
            raise ValueError(
                "min_score='noise_floor' needs a noise floor, but nothing was matched "
                "by chance: give a number, or a null by n_null > 0 and a metric of "
                "codes, or by null in fit_coactivation."
            )
        # what only equals the floor does not beat it
        return np.nextafter(self.noise_floor_, np.inf)

    def _set_matches(self, matches, n_latents_x, n_latents_y):
        """Set the attributes that have an entry per latent of the reference."""
        latents = matches.y_latents
        self.matching_ = np.full(n_latents_y, -1, dtype=np.intp)
        self.scores_, self.margins_, shares = np.full((3, n_latents_y), np.nan)
        self.mutual_ = np.zeros(n_latents_y, dtype=bool)
        self.matching_[latents] = matches.x_latents
        self.scores_[latents] = matches.scores
        self.margins_[latents] = matches.margins
        # a lone pair has no margin, and nothing better either
        self.mutual_[latents] = ~(matches.margins < 0)
        self.above_noise_ = self.scores_ > self.noise_floor_
        shares[latents] = self._null_matches().lowest_share(matches.scores)
        self.false_match_share_ = shares
        self.score_intervals_ = np.full((n_latents_y, 2), np.nan)
        self.unmatched_ = np.setdiff1d(np.arange(n_latents_x), matches.x_latents)

    def _null_matches(self):
        """What is known of matches by chance."""
        return NullMatches(
            self.scores_[self.matching_ >= 0],
            self.null_scores_,
            self.n_null_,
            self.share_without_partner_,
            self.min_score_,
        )

    def _null_scores(self, X, y, groups, matches, rng):
        """Scores matched after samples were re-paired, an array for each time."""
        return [
            self._matches(X, y[repaired_rows(groups, rng)]).scores
            for _ in range(self._n_null(len(matches.scores)))
        ]

    def _n_null(self, n_matches):
        """Number of times that samples are re-paired where so many are matched."""
        if self.n_null != "auto":
            return self.n_null
        return min(NULL_PASSES, -(-NULL_SCORES // n_matches)) if n_matches else 0

    def _set_intervals(self, X, y, groups, rng):
        """Set the bootstrap intervals of the scores, if they are asked for."""
        matched = np.flatnonzero(self.matching_ >= 0)
        if self.n_bootstrap == 0 or len(matched) == 0:
            return
        if self.metric == "decoder_cosine":
            raise ValueError(
                "n_bootstrap must be 0 with metric='decoder_cosine': directions have "
                "no samples to draw."
            )
        X, y = X[:, self.matching_[matched]], y[:, matched]
        if self.metric == "jaccard":
            X, y = firings(X), firings(y)
        self.score_intervals_[matched] = score_intervals(
            X, y, groups, self.metric, self.n_bootstrap, rng
        )

    def false_match_share(self, min_score):
        """Expected share of chance among the matches with at least some score.

        Matches of re-paired samples tell how many matches chance makes. They are
        scaled down where fewer of the real matches than of those score low, as the
        rest then has true partners.

        Parameters
        ----------
        min_score : float
            Lowest score of the matches in question.

        Returns
        -------
        share : FalseMatchShare
            A named tuple: the `expected` share, a 95 % interval (`low`, `high`) of the
            share in this very matching, and the number `n_matches` in question. NaN
            without a null or without such a match.

        References
        ----------
        .. [1] J. D. Storey, "A direct approach to false discovery rates", Journal of
           the Royal Statistical Society B 64, 2002.
        """
        check_is_fitted(self)
        return self._null_matches().share(min_score)

    def score_at_share(self, share):
        """Lowest score above which the expected share of chance is small enough.

        Parameters
        ----------
        share : float
            Largest expected share of false matches, between 0 and 1.

        Returns
        -------
        min_score : float
            Score of the last match that may be kept, as for `min_score`; infinity
            where none may, NaN without a null.
        """
        check_is_fitted(self)
        if not isinstance(share, Real) or not 0 <= float(share) <= 1:
            raise ValueError(f"share must be a number from 0 to 1, got {share!r}.")
        return self._null_matches().score_at(share)

    def _warn_noise(self, matches):
        """Say that most matches may be chance, if so."""
        n_above = np.count_nonzero(matches.scores > self.noise_floor_)
        n_matches = len(matches.scores)
        if not np.isnan(self.noise_floor_) and n_above < n_matches / 4:
            warnings.warn(
                f"Only {n_above} of {n_matches} matches score above the noise floor of "
                f"{self.noise_floor_:.3g}, so most cannot be told from chance one by "
                "one. Fit on more pairs, use fewer latents, or raise min_fires; "
                "score_at_share tells which are right on the whole.",
                UserWarning,
                stacklevel=5,
            )

    def _warn_unmatched(self, x, y):
        """Say that nothing is matched, and in which view no latent is alive."""
        views = [
            f"no latent of {name} is active on at least min_fires={self.min_fires} of "
            f"the {view.n_samples} samples with an activation that varies"
            for name, view in (("X", x), ("y", y))
            if not self._lives(view)
        ]
        warnings.warn(
            f"Nothing is matched: {' and '.join(views)}. Lower min_fires or fit on "
            "more pairs.",
            UserWarning,
            stacklevel=5,
        )

    def _lives(self, marginals):
        """Whether any latent can be matched."""
        if self.metric == "decoder_cosine":
            return (marginals.fires >= self.min_fires).any()
        return len(self._alive(marginals)) > 0

    def transform(self, X):
        """Put codes in the order of the reference.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Codes in the order of the `X` seen during `fit`.

        Returns
        -------
        codes : {ndarray, sparse matrix} of shape (n_samples, n_latents_y)
            The same activations, each in the column of the reference latent that its
            latent is matched to. Columns of unmatched reference latents are zero, and
            the latents in ``unmatched_`` are left out. CSR if `X` is sparse. With
            ``assignment="soft"``, of shape (n_samples, n_latents_y + n_latents_x): the
            translation into the latents of the reference, then `X` as it is.
        """
        check_is_fitted(self)
        X = self._check_codes(X, reset=False)
        if self._is_soft():
            return self._beside(X, self.translation_, translated_first=True)
        if sparse.issparse(X):
            return as_container(relabelled(X, self.matching_), sparse_output=True)
        matched = self.matching_ >= 0
        codes = np.zeros((X.shape[0], len(self.matching_)), dtype=X.dtype)
        codes[:, matched] = X[:, self.matching_[matched]]
        return codes

    def transform_reference(self, y):
        """Give codes of the reference the columns of `transform`.

        Parameters
        ----------
        y : {array-like, sparse matrix} of shape (n_samples, n_latents_y)
            Codes of the reference view.

        Returns
        -------
        codes : {ndarray, sparse matrix} of shape (n_samples, n_latents_y)
            `y` as it is. With ``assignment="soft"``, of shape (n_samples, n_latents_y
            + n_latents_x): `y`, then its translation into the latents of `X`.
        """
        check_is_fitted(self)
        y = self._check_reference(y)
        if y.shape[1] != len(self.matching_):
            raise ValueError(
                f"y has {y.shape[1]} columns, but this {type(self).__name__} was "
                f"fitted to a reference of {len(self.matching_)} latents."
            )
        if self._is_soft():
            return self._beside(y, self.reference_translation_, translated_first=False)
        if sparse.issparse(y):
            return as_container(as_codes(y), sparse_output=True)
        return y

    def _is_soft(self):
        """Whether the fitted matching is soft."""
        return hasattr(self, "translation_")

    def _beside(self, codes, translation, translated_first):
        """Codes and their translation side by side."""
        own = as_codes(codes)
        parts = [translation(own), own] if translated_first else [own, translation(own)]
        joined = sparse.csr_array(sparse.hstack(parts, format="csr"))
        return as_container(joined, sparse.issparse(codes))

    @property
    def _n_features_out(self):
        """Number of columns of the codes."""
        n_own = self.n_features_in_ if self._is_soft() else 0
        return len(self.matching_) + n_own

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags
