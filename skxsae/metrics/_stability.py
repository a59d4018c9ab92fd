"""Whether two dictionaries have the same directions: of two seeds or two data sets."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._affinity import DirectionAffinity
from skxsae._assignment import best_partners, hungarian
from skxsae.metrics._codes import check_width, unit_rows
from skxsae.metrics._dictionary import check_dictionary, is_present
from skxsae.metrics._modality import check_energies

_OPTIONS = {
    "components": ["array-like"],
    "other": ["array-like"],
    "form": [StrOptions({"cosine", "angle"})],
}


def _of_moments(directions, n_rows, rng):
    """Unit rows with the mean and the covariance of unit directions."""
    mean = directions.mean(axis=0)
    centred = directions - mean
    values, axes = np.linalg.eigh(centred.T @ centred / len(directions))
    spread = np.sqrt(np.maximum(values, 0.0))
    rows = rng.standard_normal((n_rows, len(mean)))
    # the symmetric root, which does not depend on the signs of the axes
    return unit_rows(mean + rows @ (axes * spread) @ axes.T)


def _uniform(directions, n_rows, rng):
    """Unit rows that are uniform on the sphere."""
    return unit_rows(rng.standard_normal((n_rows, directions.shape[1])))


_NULLS = {"moments": _of_moments, "uniform": _uniform}
_NULL = {
    "null": [StrOptions(set(_NULLS)), None],
    "random_state": ["random_state"],
}


@validate_params(_OPTIONS, prefer_skip_nested_validation=True)
def stability_score(components, other, *, form="cosine"):
    """How well the directions of two dictionaries agree under the best matching.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions of one run, of any length. Rows of zeros or NaN are absent latents.

    other : array-like of shape (n_latents_other, n_features_in)
        Directions of another run: with another seed, or on other data.

    form : {"cosine", "angle"}, default="cosine"
        Mean cosine of the matched directions, where higher is better, or the mean angle
        in radians of [1]_, where lower is better. Each form has the one-to-one matching
        that is best for it.

    Returns
    -------
    float
        Mean over the matched pairs, as many as the smaller dictionary has directions.
        Signed: opposite directions do not agree. The best matching of unrelated
        dictionaries has no cosine of 0: see :func:`stability_chance`.

    Raises
    ------
    ValueError
        If the widths differ, or one dictionary has no direction.

    See Also
    --------
    stability_chance : What two unrelated dictionaries have.
    stability_curve : The same for the latents of most energy.
    mean_correlation_coefficient : Absolute cosine with true directions.

    Notes
    -----
    The matching is exact. It is found from the most promising pairs; if these are too
    many, from a matrix of all pairs, 512 MiB for 8,192 latents.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix E.2.

    Examples
    --------
    >>> from skxsae.metrics import stability_score
    >>> first, second = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 4.0]]
    >>> round(stability_score(first, second), 6)
    0.8
    >>> round(stability_score(first, second, form="angle"), 4)
    0.4636
    """
    components, other = _check_two(components, other)
    return float(_match_present(components, other, form)[2].mean())


@validate_params(
    _OPTIONS | {"null": [StrOptions(set(_NULLS))], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def stability_chance(
    components, other, *, form="cosine", null="moments", random_state=None
):
    """Stability score of a dictionary with random directions in place of the other.

    The best matching of many random directions is well above a cosine of 0: this is
    the score to be compared with, that of a dictionary as large as `other` whose
    directions have nothing to do with those of `components`.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions of one run. Rows of zeros or NaN are absent latents.

    other : array-like of shape (n_latents_other, n_features_in)
        Directions of another run, which random ones take the place of.

    form : {"cosine", "angle"}, default="cosine"
        Mean cosine or mean angle in radians, as in :func:`stability_score`.

    null : {"moments", "uniform"}, default="moments"
        Random directions: normal with the mean and the covariance of the unit
        directions of `other`, so that a cone or a subspace in which all directions lie
        does not pass for agreement; or uniform on the sphere, which is lower where they
        do. With far fewer latents than features, "moments" is strict: it then knows the
        space that the directions span.

    random_state : int, RandomState instance or None, default=None
        Seed of the directions. They are drawn once; the mean over the pairs varies
        little from draw to draw unless there are few.

    Returns
    -------
    float
        Mean over the matched pairs.

    Raises
    ------
    ValueError
        If the widths differ, or one dictionary has no direction.

    See Also
    --------
    stability_score : The score of the two dictionaries.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import stability_chance, stability_score
    >>> rng = np.random.default_rng(0)
    >>> first, second = rng.standard_normal((2, 300, 64))
    >>> round(stability_score(first, second), 1)
    0.3
    >>> round(stability_chance(first, second, random_state=0), 1)
    0.3
    """
    components, other = _check_two(components, other)
    drawn = _draw_like(other, null, random_state)
    return float(_match_present(components, drawn, form)[2].mean())


@validate_params(
    _OPTIONS
    | {"energies": ["array-like"], "other_energies": ["array-like", None]}
    | _NULL,
    prefer_skip_nested_validation=True,
)
def stability_curve(
    components,
    other,
    energies,
    *,
    other_energies=None,
    form="cosine",
    null=None,
    random_state=None,
):
    """Agreement of two dictionaries over the energy rank of their latents.

    All latents are matched first, as in :func:`stability_score`; the pairs are then
    sorted by energy, from the largest down.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features_in)
        Directions of one run. Rows of zeros or NaN are absent latents.

    other : array-like of shape (n_latents_other, n_features_in)
        Directions of another run.

    energies : array-like of shape (n_latents,)
        Energy of each latent of the first run, such as that of :func:`energy`.

    other_energies : array-like of shape (n_latents_other,), default=None
        Energies of the other run. If given, the energy of a pair is the mean of both,
        else that of its latent in the first run.

    form : {"cosine", "angle"}, default="cosine"
        Cosine or angle in radians.

    null : {"moments", "uniform"}, default=None
        If given, the level of chance is added: the curve with random directions in
        place of `other`, which keep its energies, as in :func:`stability_chance`. It
        takes a second matching.

    random_state : int, RandomState instance or None, default=None
        Seed of the random directions.

    Returns
    -------
    pandas.DataFrame
        A row for each matched pair, indexed by its "rank" from 1: the "latent" and the
        "other_latent", their "energy", their "cosine" or "angle", and the "mean" of all
        pairs up to this rank. The last mean is the stability score. With `null` also
        "chance", the mean up to this rank for random directions; the last is the
        stability chance.

    Raises
    ------
    ValueError
        If the widths differ, a dictionary has no direction, or energies are negative.

    Examples
    --------
    >>> from skxsae.metrics import stability_curve
    >>> first, second = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 4.0]]
    >>> stability_curve(first, second, energies=[0.1, 0.5])
          latent  other_latent  energy  cosine  mean
    rank
    1          1             0     0.5     1.0   1.0
    2          0             1     0.1     0.6   0.8
    """
    components, other = _check_two(components, other)
    energies = check_energies(energies, "energies", len(components))
    if other_energies is not None:
        other_energies = check_energies(other_energies, "other_energies", len(other))
    curve = _curve(components, other, energies, other_energies, form)
    if null is not None:
        drawn = _draw_like(other, null, random_state)
        random = _curve(components, drawn, energies, other_energies, form)
        curve["chance"] = random["mean"]
    return curve


def _curve(components, other, energies, other_energies, form):
    """`stability_curve` of checked arrays."""
    latents, other_latents, scores = _match_present(components, other, form)
    energy = energies[latents]
    if other_energies is not None:
        energy = (energy + other_energies[other_latents]) / 2
    order = np.argsort(-energy, kind="stable")
    ranks = np.arange(1, len(order) + 1)
    table = {
        "latent": latents[order],
        "other_latent": other_latents[order],
        "energy": energy[order],
        form: scores[order],
        "mean": np.cumsum(scores[order]) / ranks,
    }
    return pd.DataFrame(table, index=pd.Index(ranks, name="rank"))


def _check_two(components, other):
    """Two dictionaries of one space, absent latents as rows of zeros."""
    components = check_dictionary(components, "components")
    other = check_dictionary(other, "other")
    check_width(components, other, "components", "other")
    return components, other


def _draw_like(other, null, random_state):
    """Random directions in place of those that are present."""
    present = is_present(other)
    drawn = np.zeros_like(other)
    # a stream of its own: an autoencoder with this seed began with its first numbers
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    drawn[present] = _NULLS[null](unit_rows(other[present]), int(present.sum()), rng)
    return drawn


def _match_present(components, other, form):
    """Latents matched among those that are present, and their cosines or angles."""
    present = [np.flatnonzero(is_present(rows)) for rows in (components, other)]
    i, j, scores = match_directions(components[present[0]], other[present[1]], form)
    return present[0][i], present[1][j], scores


def match_directions(components, other, form="cosine"):
    """Rows of the best matching of two sets of directions, and cosines or angles."""
    kind = {"cosine": DirectionAffinity, "angle": _AngleAffinity}[form]
    affinity = kind(unit_rows(components), unit_rows(other))
    i, j, scores = best_matching(affinity)
    order = np.argsort(i)
    i, j, scores = i[order], j[order], scores[order]
    return i, j, -scores if form == "angle" else np.clip(scores, -1.0, 1.0)


def best_matching(affinity):
    """Latents of the one-to-one matching with the largest sum of scores, and these."""
    i, j, _ = hungarian(affinity, best_partners(affinity), best_partners(affinity.T))
    return i, j, affinity.pairs(i, j)


@dataclass(frozen=True)
class _AngleAffinity(DirectionAffinity):
    """Angles between the directions of two dictionaries, in radians and negative."""

    @property
    def T(self):
        """The scores the other way round."""
        return _AngleAffinity(self.y_directions, self.x_directions)

    def rows(self, start, stop):
        """Negative angles of the x latents start to stop with every y latent."""
        return -np.arccos(np.clip(super().rows(start, stop), -1.0, 1.0))

    def pairs(self, x_latents, y_latents):
        """Negative angles of the given pairs."""
        return -np.arccos(np.clip(super().pairs(x_latents, y_latents), -1.0, 1.0))
