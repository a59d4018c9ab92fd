"""Paired embeddings that two dictionaries explain, one bimodal and one unimodal."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_array, csr_matrix
from sklearn import get_config
from sklearn.utils import Bunch, check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.datasets._synthetic import check_dtype

_ROWS_PER_BATCH = 1024
_MAX_DRAWS = 100
# halvings of an interval: to the last digit, whatever its length
_N_HALVINGS = 120

# weights of a bimodal atom and of its term in one view
_MIXES = {
    "linear": lambda tau: (tau, 1.0 - tau),
    "sqrt": lambda tau: (np.sqrt(tau), np.sqrt(1.0 - tau)),
}


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 3, None, closed="left")],
        "n_unimodal": [Interval(Integral, 1, None, closed="left")],
        "n_active": [Interval(Integral, 2, None, closed="left")],
        "tau_1": [Interval(Real, 0, 1, closed="right")],
        "tau_2": [Interval(Real, 0, 1, closed="neither")],
        "mix": [StrOptions(set(_MIXES))],
        "dtype": "no_validation",  # any spelling of a dtype, checked by check_dtype
        "return_X_y": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_iso_energy_pairs(
    n_samples=20_000,
    n_features=512,
    *,
    n_unimodal=32,
    n_active=20,
    tau_1=0.999,
    tau_2=0.3,
    mix="linear",
    dtype=np.float32,
    return_X_y=False,
    random_state=None,
):
    r"""Generate pairs that a bimodal and a unimodal dictionary explain exactly.

    The toy process of appendix C.1 of [1]_. Each embedding has two exact sparse codes:
    one over bimodal atoms that both views use, with a small term in each view, and one
    over atoms that only one view uses. `tau_1` says which of the two is the truth: near
    1 the terms vanish and the bimodal dictionary is, near `tau_2` the other one.

    Parameters
    ----------
    n_samples : int, default=20_000
        Number of pairs.

    n_features : int, default=512
        Width of the embeddings, at least 3. Image, text and bimodal atoms lie in three
        subspaces that are orthogonal to each other, of a third of the dimensions each;
        what does not divide by 3 goes to the last.

    n_unimodal : int, default=32
        Number k of atoms of `X` alone, and as many of `y` alone. There are 4k bimodal
        atoms, each with a term in either view.

    n_active : int, default=20
        Number L of atoms of a sample in the unimodal dictionary: one of its view and
        L - 1 mixed ones, at most ``1 + 4 * n_unimodal``.

    tau_1 : float, default=0.999
        Weight of a bimodal atom against its terms, in (0, 1].

    tau_2 : float, default=0.3
        Cosine of the two members of every pair, in (0, 1).

    mix : {"linear", "sqrt"}, default="linear"
        A mixed atom is ``tau_1 * b + (1 - tau_1) * t`` of a bimodal atom b and its term
        t, as printed, so that the two mixed atoms of b have the cosine
        ``tau_1**2 / (tau_1**2 + (1 - tau_1)**2)``; or the same with the square roots of
        the weights, so that the cosine is `tau_1`, as the text says.

    dtype : {float32, float64}, default=float32
        Type of every array returned; the random draws do not depend on it.

    return_X_y : bool, default=False
        If True, return ``(X, y)`` instead of a Bunch.

    random_state : int, RandomState instance or None, default=None
        Determines atoms and codes. Pass an int for reproducible output across multiple
        function calls. The atoms do not depend on `tau_1`, `tau_2` and `mix`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        X : ndarray of shape (n_samples, n_features)
            The first view, rows of unit length.
        y : ndarray of shape (n_samples, n_features)
            The second view; row i is paired with row i of `X`.
        features_1 : ndarray of shape (14 * n_unimodal, n_features)
            Unit atoms of the bimodal dictionary: k of `X`, k of `y`, 4k bimodal, their
            4k terms in `X` and their 4k terms in `y`.
        x_codes_1, y_codes_1 : CSR array or matrix of shape (n_samples, 14 * n_unimodal)
            Codes over it, ``X = x_codes_1 @ features_1``, with ``2 * n_active - 1``
            active atoms, or `n_active` if `tau_1` is 1. The class follows
            scikit-learn's `sparse_interface` configuration.
        kinds_1 : ndarray of shape (14 * n_unimodal,)
            What each atom is: "x_only", "y_only", "bimodal", "x_term" or "y_term".
        features_2 : ndarray of shape (10 * n_unimodal, n_features)
            Unit atoms of the unimodal dictionary: k of `X`, k of `y`, 4k mixed ones of
            `X` and their 4k partners of `y`.
        x_codes_2, y_codes_2 : CSR array or matrix of shape (n_samples, 10 * n_unimodal)
            Codes over it, ``X = x_codes_2 @ features_2``, with `n_active` active atoms.
        kinds_2 : ndarray of shape (10 * n_unimodal,)
            "x_only", "y_only", "x_mixed" or "y_mixed".
        mixed_cosine : float
            Cosine of the two mixed atoms of each bimodal one.
        pair_cosines : ndarray of shape (n_samples,)
            Cosine of each pair, `tau_2` but for rounding.
        beta : ndarray of shape (n_samples,)
            Weight of the mixed atoms of each pair, against 1 for those of one view.
        n_redrawn : int
            Number of draws of atoms that no weight gives the cosine `tau_2`, and that
            were drawn again.
        DESCR : str
            The setting in words.

    (X, y) : tuple if ``return_X_y=True``
        The two views.

    Raises
    ------
    ValueError
        If `n_active` is too large, or too few draws of atoms can have the cosine
        `tau_2`, which the cosine of mixed atoms must exceed.

    See Also
    --------
    make_paired_features : Pairs whose concepts have two directions at a set cosine.

    Notes
    -----
    A pair takes one atom of `X` and one of `y`, with weight 1, and L - 1 bimodal atoms
    with weight :math:`\beta`. All rows are then scaled to unit length. For each pair
    :math:`\beta` is the positive solution of

    .. math:: \cos(x, y) = \frac{a \beta^2}{\sqrt{(1 + 2 p_x \beta + q_x \beta^2)
              (1 + 2 p_y \beta + q_y \beta^2)}} = \tau_2,

    where a comes from the bimodal atoms, and p and q from the products of all atoms of
    a view. Atoms are drawn at random inside their subspaces, for [1]_ only says which
    sets are orthogonal. It swaps the two numbers of atoms, 14k and 10k.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix C.1.

    Examples
    --------
    >>> from skxsae.datasets import make_iso_energy_pairs
    >>> data = make_iso_energy_pairs(
    ...     500, 96, n_unimodal=8, n_active=5, tau_1=0.5, tau_2=0.4, random_state=0
    ... )
    >>> data.features_1.shape, data.features_2.shape
    ((112, 96), (80, 96))
    >>> round(data.mixed_cosine, 6), round(float(data.pair_cosines.mean()), 6)
    (0.5, 0.4)
    >>> bool(abs(data.x_codes_1 @ data.features_1 - data.X).max() < 1e-6)
    True
    >>> bool(abs(data.x_codes_2 @ data.features_2 - data.X).max() < 1e-6)
    True
    """
    rng = check_random_state(random_state)
    dtype = check_dtype(dtype)
    n_bimodal = 4 * n_unimodal
    if n_active - 1 > n_bimodal:
        raise ValueError(
            f"n_active={n_active} takes {n_active - 1} bimodal atoms, but there are "
            f"4 * n_unimodal = {n_bimodal}: lower n_active or raise n_unimodal."
        )
    atoms = _place_atoms(n_features, n_unimodal, rng)
    weights = _MIXES[mix](tau_1)
    pairs, n_redrawn = _draw_pairs(n_samples, n_active - 1, atoms, weights, tau_2, rng)
    features_1 = np.vstack([atoms.x_only, atoms.y_only, *atoms.bimodal])
    length = np.hypot(*weights)
    mixed = [_mix(atoms, weights, view) / length for view in (0, 1)]
    features_2 = np.vstack([atoms.x_only, atoms.y_only, *mixed])
    codes = [_codes(pairs, n_unimodal, view, weights) for view in (0, 1)]
    X, y = (of_view[0] @ features_1 for of_view in codes)
    if return_X_y:
        return X.astype(dtype), y.astype(dtype)

    sparse = csr_array if get_config()["sparse_interface"] == "sparray" else csr_matrix
    (x_codes_1, x_codes_2), (y_codes_1, y_codes_2) = (
        [sparse(Z.astype(dtype)) for Z in of_view] for of_view in codes
    )
    mixed_cosine = float(mixed[0][0] @ mixed[1][0])
    one_view = ["x_only", "y_only"]
    return Bunch(
        X=X.astype(dtype),
        y=y.astype(dtype),
        features_1=features_1.astype(dtype),
        x_codes_1=x_codes_1,
        y_codes_1=y_codes_1,
        kinds_1=_kinds([*one_view, "bimodal", "x_term", "y_term"], n_unimodal),
        features_2=features_2.astype(dtype),
        x_codes_2=x_codes_2,
        y_codes_2=y_codes_2,
        kinds_2=_kinds([*one_view, "x_mixed", "y_mixed"], n_unimodal),
        mixed_cosine=mixed_cosine,
        pair_cosines=np.einsum("ij,ij->i", X, y),
        beta=pairs.beta,
        n_redrawn=n_redrawn,
        DESCR=(
            f"{n_samples} pairs of width {n_features} at cosine {tau_2:g}, each of one "
            f"atom of its view and {n_active - 1} of {n_bimodal} bimodal atoms, whose "
            f"mixtures with a term of either view ({mix}, tau_1 {tau_1:g}) have cosine "
            f"{mixed_cosine:.4g}."
        ),
    )


@dataclass(frozen=True)
class _Atoms:
    """Unit atoms: of X alone, of y alone, and the bimodal ones with both terms."""

    x_only: np.ndarray  # (k, n_features)
    y_only: np.ndarray
    bimodal: tuple  # three of (4 k, n_features): atoms, terms in X, terms in y


@dataclass(frozen=True)
class _Pairs:
    """Atoms of each pair, their common weight, and the lengths of both members."""

    unimodal: np.ndarray  # (n_samples, 2)
    bimodal: np.ndarray  # (n_samples, n_active - 1)
    beta: np.ndarray
    lengths: np.ndarray  # (2, n_samples)


def _place_atoms(n_features, k, rng):
    """Random unit atoms in the orthogonal subspaces of X, of y, and of both."""
    basis = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0].T
    third = n_features // 3
    x_space, y_space, both = np.split(basis, [third, 2 * third])

    def place(n_atoms, space):
        atoms = rng.standard_normal((n_atoms, len(space))) @ space
        return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)

    x_only, y_only = place(k, x_space), place(k, y_space)
    terms = place(4 * k, x_space), place(4 * k, y_space)
    return _Atoms(x_only, y_only, (place(4 * k, both), *terms))


def _mix(atoms, weights, view):
    """Mixtures of the bimodal atoms with their terms in a view."""
    return weights[0] * atoms.bimodal[0] + weights[1] * atoms.bimodal[1 + view]


def _draw_pairs(n_samples, n_bimodal, atoms, weights, tau_2, rng):
    """Atoms and weights of all pairs, and how many draws had to be made again."""
    drawn = [
        _draw_batch(rows.stop - rows.start, n_bimodal, atoms, weights, tau_2, rng)
        for rows in gen_batches(n_samples, _ROWS_PER_BATCH)
    ]
    pairs, n_redrawn = zip(*drawn, strict=True)
    return _Pairs(
        np.concatenate([p.unimodal for p in pairs]),
        np.concatenate([p.bimodal for p in pairs]),
        np.concatenate([p.beta for p in pairs]),
        np.concatenate([p.lengths for p in pairs], axis=1),
    ), sum(n_redrawn)


def _draw_batch(n_rows, n_bimodal, atoms, weights, tau_2, rng):
    """`_draw_pairs` of a few rows."""
    pairs = _Pairs(
        np.empty((n_rows, 2), dtype=np.intp),
        np.empty((n_rows, n_bimodal), dtype=np.intp),
        np.empty(n_rows),
        np.empty((2, n_rows)),
    )
    left, n_redrawn = np.arange(n_rows), 0
    for _ in range(_MAX_DRAWS):
        unimodal = rng.randint(len(atoms.x_only), size=(len(left), 2))
        order = rng.random_sample((len(left), len(atoms.bimodal[0])))
        bimodal = np.argpartition(order, n_bimodal - 1, axis=1)[:, :n_bimodal]
        inner = _inner_products(unimodal, bimodal, atoms, weights)
        beta = _solve(inner, tau_2)
        there = ~np.isnan(beta)
        rows = left[there]
        pairs.unimodal[rows], pairs.bimodal[rows] = unimodal[there], bimodal[there]
        pairs.beta[rows] = beta[there]
        pairs.lengths[:, rows] = np.sqrt(_squared_lengths(inner, beta)[:, there])
        left = left[~there]
        n_redrawn += len(left)
        if len(left) == 0:
            return pairs, n_redrawn
    cosine = weights[0] ** 2 / (weights[0] ** 2 + weights[1] ** 2)
    raise ValueError(
        f"tau_2={tau_2:g} was not reached by {len(left)} of {n_rows} pairs in "
        f"{_MAX_DRAWS} draws: mixed atoms have cosine {cosine:.3g} under this tau_1 "
        "and mix, which must be well above tau_2. Raise tau_1, lower tau_2, or take "
        "mix='sqrt'."
    )


def _inner_products(unimodal, bimodal, atoms, weights):
    """The numbers a, p and q of each pair, p and q for both views."""
    n_rows, n_bimodal = bimodal.shape
    rows = np.repeat(np.arange(n_rows), n_bimodal)
    shape = n_rows, len(atoms.bimodal[0])
    taken = csr_array((np.ones(rows.size), (rows, bimodal.ravel())), shape=shape)
    both, *terms = (taken @ kind for kind in atoms.bimodal)
    a = weights[0] ** 2 * np.einsum("ij,ij->i", both, both)
    own = atoms.x_only[unimodal[:, 0]], atoms.y_only[unimodal[:, 1]]
    p = np.stack(
        [np.einsum("ij,ij->i", *pair) for pair in zip(own, terms, strict=True)]
    )
    q = np.stack([np.einsum("ij,ij->i", term, term) for term in terms])
    return a, weights[1] * p, a + weights[1] ** 2 * q


def _squared_lengths(inner, beta):
    """Squared lengths of both members of each pair before they are scaled."""
    _, p, q = inner
    return 1.0 + 2.0 * beta * p + beta**2 * q


def _solve(inner, tau_2):
    """Weight of each pair at which its cosine is `tau_2`, NaN if none is."""
    a, p, q = inner
    # with g = 1 / beta: (g^2 + 2 p_x g + q_x)(g^2 + 2 p_y g + q_y) = (a / tau_2)^2
    target = (a / tau_2) ** 2
    low = np.zeros_like(a)
    high = np.sqrt(a / tau_2) + np.abs(p).max(axis=0)  # where the left is larger
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        above = np.prod(middle**2 + 2.0 * p * middle + q, axis=0) > target
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    there = (np.prod(q, axis=0) < target) & (high > 0)
    return np.divide(1.0, high, out=np.full_like(high, np.nan), where=there)


def _codes(pairs, k, view, weights):
    """Codes of one view over the bimodal and over the unimodal dictionary."""
    scale = 1.0 / pairs.lengths[view]
    own = view * k + pairs.unimodal[:, view]
    mixed = scale * pairs.beta
    over_1 = [
        (own[:, None], scale),
        (2 * k + pairs.bimodal, weights[0] * mixed),
        ((6 + 4 * view) * k + pairs.bimodal, weights[1] * mixed),
    ]
    over_2 = [
        (own[:, None], scale),
        ((2 + 4 * view) * k + pairs.bimodal, np.hypot(*weights) * mixed),
    ]
    return _as_csr(over_1, 14 * k), _as_csr(over_2, 10 * k)


def _as_csr(parts, n_atoms):
    """CSR codes from arrays of atoms and one value for each row of them."""
    n_rows = len(parts[0][1])
    atoms = np.hstack([part for part, _ in parts])
    values = np.hstack([np.repeat(v[:, None], part.shape[1], 1) for part, v in parts])
    rows = np.repeat(np.arange(n_rows), atoms.shape[1])
    entries = values.ravel(), (rows, atoms.ravel())
    codes = csr_array(entries, shape=(n_rows, n_atoms))
    codes.eliminate_zeros()
    return codes


def _kinds(names, k):
    """Names of all atoms: k of each of the first two, and 4k of each of the others."""
    return np.repeat(names, [k, k] + [4 * k] * (len(names) - 2))
