"""Paired embeddings generated from known sparse codes and known directions."""

from numbers import Integral, Real
from types import MappingProxyType

import numpy as np
from scipy.sparse import csr_array, csr_matrix, hstack
from sklearn import get_config
from sklearn.utils import Bunch, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.datasets._directions import place_directions

_PAPER = MappingProxyType(
    {
        "n_features": 256,
        "n_shared": 1024,
        "n_x_only": 512,
        "n_y_only": 512,
        "max_interference": 0.30,
        "sparsity": 0.99,
        "noise_std": 0.05,
        "shared_magnitudes": True,
        "normalize": False,
        "force_active": False,
    }
)

#: Settings of `make_paired_features` to pass on with ``**``: ``"paper"`` is the text
#: of the heterogeneity paper (appendix D.2) and equals the defaults, ``"released"`` is
#: what its released code does.
PAIRED_FEATURES_PRESETS = MappingProxyType(
    {
        "paper": _PAPER,
        "released": MappingProxyType(
            {
                **_PAPER,
                "shared_magnitudes": False,
                "normalize": True,
                "force_active": True,
            }
        ),
    }
)

_ROWS_PER_BATCH = 1024


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 2, None, closed="left")],
        "n_shared": [Interval(Integral, 0, None, closed="left")],
        "n_x_only": [Interval(Integral, 0, None, closed="left")],
        "n_y_only": [Interval(Integral, 0, None, closed="left")],
        "alignment": [Interval(Real, 0, 1, closed="both"), "array-like"],
        "max_interference": [Interval(Real, 0, 1, closed="right")],
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "noise_std": [Interval(Real, 0, None, closed="left")],
        "shared_magnitudes": ["boolean"],
        "normalize": ["boolean"],
        "force_active": ["boolean"],
        "dtype": "no_validation",  # any spelling of a dtype, checked by check_dtype
        "return_X_y": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_paired_features(
    n_samples=60_000,
    n_features=256,
    *,
    n_shared=1024,
    n_x_only=512,
    n_y_only=512,
    alignment=0.5,
    max_interference=0.30,
    sparsity=0.99,
    noise_std=0.05,
    shared_magnitudes=True,
    normalize=False,
    force_active=False,
    dtype=np.float32,
    return_X_y=False,
    random_state=None,
):
    r"""Generate two paired views of one sparse code, with the truth known.

    Each view is a sparse non-negative combination of unit-norm concept directions plus
    noise, :math:`x = \Phi z + \epsilon_x` and :math:`y = \Psi z + \epsilon_y`. Shared
    concepts have a direction in both views, at a set cosine; the others are in one
    view only. The defaults are the setting of appendix D.2 of [1]_.

    Parameters
    ----------
    n_samples : int, default=60_000
        Number of pairs. For training and test pairs that have the same directions,
        generate both at once and split the rows (see the example); the default is the
        50,000 and 10,000 of [1]_.

    n_features : int, default=256
        Width of the embeddings, the same in both views, at least 2.

    n_shared : int, default=1024
        Number of concepts present in both views.

    n_x_only : int, default=512
        Number of concepts present in `X` only.

    n_y_only : int, default=512
        Number of concepts present in `y` only.

    alignment : float or array-like of shape (n_shared,), default=0.5
        Cosine between the two directions of each shared concept, in [0, 1]. With 1
        both views have the same direction.

    max_interference : float, default=0.30
        Largest absolute cosine between the directions of two different concepts,
        within each view and across the views, in (0, 1].

    sparsity : float, default=0.99
        Probability that a coefficient is zero. The others follow the exponential
        distribution of mean 1.

    noise_std : float, default=0.05
        Standard deviation of the Gaussian noise added to each coordinate of each view.

    shared_magnitudes : bool, default=True
        Whether a shared concept has the same coefficient in both views. If False, it
        is active in the same pairs, with coefficients drawn independently.

    normalize : bool, default=False
        Whether to scale the rows of `X` and `y`, noise included, to unit L2 norm. The
        coefficients are divided by the same norms.

    force_active : bool, default=False
        Whether each pair has at least one active concept in each of the three groups
        (shared, `X` only, `y` only): where chance gives none, one is drawn at random.

    dtype : {float32, float64}, default=float32
        Type of every array returned; the random draws do not depend on it.

    return_X_y : bool, default=False
        If True, return ``(X, y)`` instead of a Bunch.

    random_state : int, RandomState instance or None, default=None
        Determines directions, codes and noise. Pass an int for reproducible output
        across multiple function calls. The random draws of directions and codes do not
        depend on `alignment`, nor those of the directions on `n_samples`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        X : ndarray of shape (n_samples, n_features)
            The first view.
        y : ndarray of shape (n_samples, n_features)
            The second view; row i is paired with row i of `X`.
        x_features : ndarray of shape (n_concepts, n_features)
            Direction of each concept in `X`: first the shared concepts, then those of
            `X` only, then those of `y` only, whose rows are zero.
        y_features : ndarray of shape (n_concepts, n_features)
            Direction of each concept in `y`; zero rows for concepts of `X` only.
        x_codes : CSR array or matrix of shape (n_samples, n_concepts)
            Coefficients of `X`, so that ``X = x_codes @ x_features + noise``; zero for
            concepts absent from `X`. The class follows scikit-learn's
            `sparse_interface` configuration.
        y_codes : CSR array or matrix of shape (n_samples, n_concepts)
            Coefficients of `y`.
        shared : ndarray of shape (n_concepts,), dtype bool
            Which concepts are in both views.
        interference : float
            Largest absolute cosine between directions of two different concepts.
        DESCR : str
            The setting in words.

    (X, y) : tuple if ``return_X_y=True``
        The two views.

    Raises
    ------
    ValueError
        If the directions cannot be placed under `max_interference`, or `alignment` has
        a wrong shape or values outside [0, 1].

    Notes
    -----
    Directions start uniform on the sphere; those that break the bound are pushed
    apart, the cosines of the shared concepts restored exactly, until the bound holds.

    ``PAIRED_FEATURES_PRESETS["released"]`` reproduces the choices of the released code
    of [1]_: one shared support with independent magnitudes, unit rows, and an active
    concept in each group. That code bounds the interference only inside each group of
    directions and meets the alignment to within 0.015; here both hold for all.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, appendix D.2.

    Examples
    --------
    >>> from skxsae.datasets import PAIRED_FEATURES_PRESETS, make_paired_features
    >>> data = make_paired_features(
    ...     300, 32, n_shared=20, n_x_only=10, n_y_only=10, random_state=0
    ... )
    >>> data.X.shape, data.y.shape, data.x_codes.shape
    ((300, 32), (300, 32), (300, 40))
    >>> float((data.x_features[0] @ data.y_features[0]).round(5))
    0.5
    >>> X_train, X_test = data.X[:200], data.X[200:]

    The released code's choices, with another alignment and fewer concepts:

    >>> setting = {**PAIRED_FEATURES_PRESETS["released"], "n_shared": 256}
    >>> X, y = make_paired_features(
    ...     100, **setting, alignment=0.8, return_X_y=True, random_state=0
    ... )
    >>> float((X[0] @ X[0]).round(5))
    1.0
    """
    rng = check_random_state(random_state)
    dtype = check_dtype(dtype)
    alignment = _check_alignment(alignment, n_shared)
    counts = (n_shared, n_x_only, n_y_only)
    if sum(counts) == 0:
        raise ValueError(
            "n_shared, n_x_only and n_y_only are all 0; at least one concept is "
            "needed, so make one of them positive."
        )

    directions, interference = place_directions(
        counts, n_features, alignment, max_interference, rng
    )
    x_features, y_features = _features_per_view(directions.astype(dtype), counts)
    x_codes, y_codes = _sample_codes(
        n_samples, counts, 1 - sparsity, shared_magnitudes, force_active, dtype, rng
    )
    X = _embed(x_codes, x_features, noise_std, rng)
    y = _embed(y_codes, y_features, noise_std, rng)
    if normalize:
        _normalize_in_place(X, x_codes)
        _normalize_in_place(y, y_codes)
    if return_X_y:
        return X, y

    container = (
        csr_array if get_config()["sparse_interface"] == "sparray" else csr_matrix
    )
    return Bunch(
        X=X,
        y=y,
        x_features=x_features,
        y_features=y_features,
        x_codes=container(x_codes),
        y_codes=container(y_codes),
        shared=np.arange(sum(counts)) < n_shared,
        interference=interference,
        DESCR=(
            f"{n_samples} pairs of width {n_features} from {n_shared} shared, "
            f"{n_x_only} x-only and {n_y_only} y-only concepts; alignment "
            f"{_in_words(alignment)}, other cosines at most {interference:.3f}; "
            f"sparsity {sparsity}, noise {noise_std}, "
            f"{'equal' if shared_magnitudes else 'independent'} shared magnitudes, "
            f"{'unit-norm' if normalize else 'unscaled'} rows, "
            f"{'at least one' if force_active else 'possibly no'} active concept "
            "per group."
        ),
    )


def check_dtype(dtype):
    """Return `dtype` as float32 or float64, the two types supported."""
    checked = np.dtype(dtype)
    if checked not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} is not supported; use float32 or float64.")
    return checked


def _check_alignment(alignment, n_shared):
    """Return `alignment` as a float64 array with one value per shared concept."""
    checked = np.asarray(alignment, dtype=np.float64)
    if checked.ndim > 0 and checked.shape != (n_shared,):
        raise ValueError(
            f"alignment has shape {checked.shape}; give one number, or one per shared "
            f"concept: shape ({n_shared},) for n_shared={n_shared}."
        )
    if not np.all((checked >= 0) & (checked <= 1)):
        raise ValueError(
            f"alignment has values from {checked.min()} to {checked.max()}; it is a "
            "cosine and must lie in [0, 1]."
        )
    return np.broadcast_to(checked, (n_shared,))


def _in_words(alignment):
    """Value or range of the alignments, for the description."""
    if alignment.size == 0:
        return "none"
    low, high = alignment.min(), alignment.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _features_per_view(directions, counts):
    """Directions of each view in concept order, zero where a concept is absent."""
    n_shared, n_x_only, _ = counts
    phi, psi, x_only, y_only = np.split(
        directions, np.cumsum([n_shared, n_shared, n_x_only])
    )
    x_features = np.vstack([phi, x_only, np.zeros_like(y_only)])
    y_features = np.vstack([psi, np.zeros_like(x_only), y_only])
    return x_features, y_features


def _sample_codes(n_samples, counts, rate, shared_magnitudes, force_active, dtype, rng):
    """Coefficients of both views as CSR arrays of shape (n_samples, n_concepts)."""
    x_shared, x_only, y_only = (
        _sample_block(n_samples, n_concepts, rate, force_active, dtype, rng)
        for n_concepts in counts
    )
    y_shared = x_shared.copy()
    if not shared_magnitudes:
        y_shared.data = rng.standard_exponential(y_shared.nnz).astype(dtype)
    x_codes = hstack([x_shared, x_only, csr_array(y_only.shape, dtype=dtype)], "csr")
    y_codes = hstack([y_shared, csr_array(x_only.shape, dtype=dtype), y_only], "csr")
    return x_codes, y_codes


def _sample_block(n_samples, n_concepts, rate, force_active, dtype, rng):
    """Bernoulli-exponential coefficients of one group of concepts."""
    positions = _sample_successes(n_samples * n_concepts, rate, rng)
    if force_active and n_concepts > 0:
        n_active = np.bincount(positions // n_concepts, minlength=n_samples)
        empty = np.flatnonzero(n_active == 0)
        forced = empty * n_concepts + rng.randint(n_concepts, size=len(empty))
        positions = np.sort(np.concatenate([positions, forced]))

    rows, columns = np.divmod(positions, max(n_concepts, 1))
    n_active = np.bincount(rows, minlength=n_samples)
    indptr = np.concatenate([[0], np.cumsum(n_active)])
    values = rng.standard_exponential(len(positions)).astype(dtype)
    return csr_array((values, columns, indptr), shape=(n_samples, n_concepts))


def _sample_successes(n_trials, rate, rng):
    """Sorted positions of the successes among independent Bernoulli trials."""
    # gaps between successes are geometric: no draw per trial, no dense mask
    found = [np.empty(0, dtype=np.int64)]
    last = -1
    while rate > 0 and last < n_trials - 1:
        expected = rate * (n_trials - last)
        gaps = rng.geometric(rate, size=int(expected + 4 * np.sqrt(expected)) + 1)
        found.append(last + np.cumsum(np.minimum(gaps, n_trials + 1)))
        last = found[-1][-1]
    positions = np.concatenate(found)
    return positions[: np.searchsorted(positions, n_trials)]


def _embed(codes, features, noise_std, rng):
    """Combine `features` by `codes` and add noise, in batches of rows."""
    embeddings = codes @ features
    if noise_std > 0:
        for batch in gen_batches(len(embeddings), _ROWS_PER_BATCH):
            rows = embeddings[batch]
            rows += (noise_std * rng.standard_normal(rows.shape)).astype(rows.dtype)
    return embeddings


def _normalize_in_place(embeddings, codes):
    """Scale rows of `embeddings` to unit norm and rows of `codes` by the same."""
    norms = np.linalg.norm(embeddings, axis=1)
    norms[norms == 0] = 1
    embeddings /= norms[:, None]
    codes.data /= np.repeat(norms, np.diff(codes.indptr))
