"""Ways to align the latents of one pair of dictionaries, by held-out retrieval.

Every method sees the same two dictionaries and their codes of the training pairs; only
how codes of the two views are compared differs. Recall stands beside the number of
active coordinates, and as a ratio to that of the one-to-one matching or of another
method. What a baseline has to choose is chosen on a part of the training groups.
"""

import copy
import functools
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _common import (
    FitLog,
    interval,
    make_parser,
    own_order,
    report,
    resampled_weights,
    stopwatch,
)
from _methods import make_post_hoc
from retrieval import (
    DIRECTIONS,
    _quality,
    _recall,
    _resampled_recall,
    _total_recall,
    measure,
    tabulate,
)
from scipy import sparse

from skxsae import CoactivationMatcher
from skxsae.datasets import load_emoji, load_paired_arrays
from skxsae.metrics import retrieval_ranks

try:
    import ot
except ImportError:
    ot = None

MIN_FIRES = 10
# least share of the longest, from which on a length is divided by
SHORTEST = 1e-6
# chosen on a fifth of the training groups, no more than VALIDATION of them
GRIDS = {
    "ridge": (0.03, 0.1, 0.3, 0.6, 0.9, 1.0),
    "cca": (0.03, 0.1, 0.3, 0.6, 0.9, 1.0),
    "optimal_transport": (0.01, 0.03, 0.1, 0.3, 1.0),
}
VALIDATION = 1000
EMOJI = {"n_latents": 256, "k": [8], "epochs": 50, "batch_size": 256}
ARRAYS = {"n_latents": 1024, "k": [16], "epochs": 30, "batch_size": 1024}
ONE_TO_ONE = {
    "hungarian": {},
    "greedy": {"assignment": "greedy"},
    "mutual_nearest": {"assignment": "mutual_nearest"},
    "decoder_cosine": {"metric": "decoder_cosine"},
}
# latents that are active in all to those that a view itself has; None: no limit
SOFT = {f"soft_{budget}k": budget for budget in (2, 4, 6, 8)} | {"soft": None}
JOINT = ("dense", "reconstruction", "decoder_cosine", "decoder_gram")
METHODS = [
    *("dense", "reconstruction", *ONE_TO_ONE, "one_to_one_6k", *SOFT, "soft_plain"),
    *("through_W", "through_C", "decoder_gram", *GRIDS, "procrustes"),
]


def main(argv=None):
    """Run the methods that were asked for and report them."""
    args = _parse(argv)
    data = _load(args)
    methods = _applicable(args, data)
    log = FitLog(args.out / "alignment.jsonl")
    fits, measurements, tables = [], [], {}
    for k in args.k:
        of_k = []
        for seed in args.seeds:
            key = _key(args, data, methods, k, seed)
            of_k.append(log.get_or_run(key, functools.partial(run, key, data)))
            print(f"k {k} seed {seed}: {of_k[-1]['seconds']:.0f} s", flush=True)
        fits += of_k
        rows = [row | {"k": k} for row in measure(of_k)]
        measurements += rows
        printed = _tables(of_k, rows, args.against)
        tables |= {f"k {k}: {name}": table for name, table in printed.items()}
    title = (
        f"alignment: {args.name}, {args.n_latents} latents a view, "
        f"k {' '.join(map(str, args.k))}, {args.epochs} epochs, "
        f"{len(args.seeds)} seed(s)"
    )
    figures = _figures(tables, args.against)
    report(args, "alignment", title, figures, tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--emoji", action="store_true", help="the emoji instead of --x and --y")
    add("--x", help="first view: file.npy or file.npz:name")
    add("--y", help="second view")
    add("--groups", help="group of each pair, such as the row of a caption's image")
    add("--x-rows", help="row of x of each row of y, where groups do not tell it")
    add("--test", help="mask of the held-out pairs, or of the held-out rows of x")
    add("--name", help="what the data are called in the report")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("--against", choices=METHODS, default="hungarian", help="divisor of the ratios")
    add("--n-latents", type=int, help="latents of each view: 1024, or 256 for emoji")
    add("-k", type=int, nargs="+", help="active latents of a sample: 16, 8 for emoji")
    add("--epochs", type=int, help="passes: 30, or 50 for emoji")
    add("--batch-size", type=int, help="pairs of a step: 1024, or 256 for emoji")
    add("--normalize", default="scale")
    args = parser.parse_args(argv)
    if args.emoji == (args.x is not None) or (args.x is None) != (args.y is None):
        parser.error("give --x and --y, or --emoji")
    defaults = EMOJI if args.emoji else ARRAYS
    defaults = {**defaults, "name": "emoji" if args.emoji else "arrays"}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _load(args):
    """The pairs and their split."""
    if args.emoji:
        data = load_emoji()
        return load_paired_arrays(
            data.X, data.y, groups=data.groups, test=data.test, mmap_mode=None
        )
    return load_paired_arrays(
        args.x, args.y, groups=args.groups, x_rows=args.x_rows, test=args.test
    )


def _applicable(args, data):
    """The methods that the views and the installed packages allow."""
    absent = [] if ot else ["optimal_transport"]
    if args.emoji or data.X.shape[1] != data.y.shape[1]:
        absent += JOINT
    left_out = [name for name in args.methods if name in absent]
    if left_out:
        print(f"Left out, no joint space or no POT: {', '.join(left_out)}.")
    return [name for name in args.methods if name not in left_out]


def _key(args, data, methods, k, seed):
    """All that a fit depends on."""
    names = ("emoji", "x", "y", "groups", "x_rows", "test")
    names += ("n_latents", "epochs", "batch_size", "normalize")
    n_x = len(np.unique(data.x_rows[data.train]))
    return {
        **{name: getattr(args, name) for name in names},
        **{"k": k, "seed": seed, "methods": methods},
        **{"n_train": len(data.train), "n_x": n_x, "n_test": len(data.test)},
    }


def run(key, data):
    """Fit two dictionaries and measure every way to compare their codes."""
    train = data.X[data.x_rows[data.train]], data.y[data.train]
    sae = make_post_hoc(key).set_params(matcher=CoactivationMatcher(n_null=0))
    if key["emoji"]:
        sae.set_params(x_sae__learning_rate=2e-3, y_sae__learning_rate=2e-3)
    with stopwatch() as seconds:
        sae.fit(*train, groups=data.groups[data.train])
    pair = Pair(sae, data, key)
    rows = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="ot")
        for name in key["methods"]:
            with stopwatch() as method_seconds:
                found = features(name, pair)
            rows[name] = _recall(found.X, found.y, pair.groups)
            rows[name] |= dict(zip(("active_x", "active_y"), found.active, strict=True))
            if found.chosen is not None:
                rows[name]["chosen"] = found.chosen
            rows[name] |= {"align_cpu_seconds": method_seconds["cpu_seconds"]}
    test = data.X[data.x_rows[data.test]], data.y[data.test]
    quality = _quality(sae, test, sae.transform(*test), data)
    return {**seconds, "quality": quality, "rows": rows}


@dataclass
class Features:
    """Rows whose cosine is the similarity, and what is active in them."""

    X: object
    y: object
    active: tuple
    chosen: float | None = None


def _with_active(X, y, active_of=None, chosen=None):
    """Features, with the mean number of non-zeros of the rows of these two arrays."""
    active = (
        float(np.mean(np.count_nonzero(part, axis=1)))
        if not sparse.issparse(part)
        else part.count_nonzero() / part.shape[0]
        for part in active_of or (X, y)
    )
    return Features(*map(_dense_if_full, (X, y)), tuple(active), chosen)


def _dense_if_full(rows):
    """Rows as an array if sparse products would be slower."""
    full = sparse.issparse(rows) and rows.nnz > 0.1 * np.prod(rows.shape)
    return rows.toarray() if full else rows


class Pair:
    """Two fitted dictionaries with the codes of all pairs, in their own order."""

    def __init__(self, sae, data, key):
        self.sae, self.data, self.k, self.seed = sae, data, key["k"], key["seed"]
        self.groups = data.groups[data.test]
        self.codes = self.encode(key["k"])

    def encode(self, k):
        """Codes of all pairs with `k` active latents."""
        codes = []
        for sae, X in ((self.sae.x_sae_, self.data.X), (self.sae.y_sae_, self.data.y)):
            sae = copy.copy(sae)
            sae.k_ = min(k, sae.n_latents_)
            codes.append(sparse.csr_array(sae.transform(X)))
        return own_order(self.sae, codes[0][self.data.x_rows], codes[1])

    def directions(self):
        """Decoder rows of both views in the units of the data, in their own order."""
        rows = [
            sparse.csr_array((sae.components_ * sae.scale_).T.astype(float))
            for sae in (self.sae.x_sae_, self.sae.y_sae_)
        ]
        return [part.toarray().T for part in own_order(self.sae, *rows)]

    def matched(self, codes, **params):
        """Codes of the held-out pairs, aligned by a matcher, and the matcher."""
        (x, y), data = codes, self.data
        matcher = CoactivationMatcher(n_null=0, random_state=self.seed, **params)
        directions = None
        if params.get("metric") == "decoder_cosine":
            directions = self.directions()[::-1]
        matcher.fit(
            y[data.train],
            x[data.train],
            groups=data.groups[data.train],
            directions=directions,
        )
        x, y = matcher.transform_reference(x[data.test]), y[data.test]
        if params.get("assignment") == "soft":
            return sparse.csr_array(x), sparse.csr_array(matcher.transform(y)), matcher
        rest = y[:, matcher.unmatched_]  # no partner, but part of the length
        y = sparse.hstack([matcher.transform(y), rest], format="csr")
        absent = sparse.csr_array((x.shape[0], rest.shape[1]), dtype=x.dtype)
        x = sparse.hstack([x, absent], format="csr")
        return sparse.csr_array(x), sparse.csr_array(y), matcher


def features(name, pair):
    """Rows of both views whose cosine is the similarity of a method."""
    if name in ONE_TO_ONE:
        return _with_active(*pair.matched(pair.codes, **ONE_TO_ONE[name])[:2])
    if name == "one_to_one_6k":
        return _with_active(*pair.matched(pair.encode(6 * pair.k))[:2])
    n_latents = max(codes.shape[1] for codes in pair.codes)
    soft = {"assignment": "soft", "n_translated": n_latents}
    if SOFT.get(name):
        soft["n_translated"] = (SOFT[name] - 1) * pair.k
    if name in SOFT:
        return _with_active(*pair.matched(pair.codes, **soft)[:2])
    if name == "soft_plain":
        return _with_active(*pair.matched(pair.codes, **soft, shrinkage=1.0)[:2])
    if name == "through_W":
        return _through_translations(pair, pair.matched(pair.codes, **soft)[2])
    if name in ("dense", "reconstruction", "procrustes"):
        return _of_embeddings(name, pair)
    views = standardised(pair, pair.data.train, pair.data.test)
    if name == "through_C":
        return through(correlations(*views), *views)
    if name == "decoder_gram":
        rows = [d[v.alive] for d, v in zip(pair.directions(), views, strict=True)]
        return through(rows[0] @ rows[1].T, *views)
    value = _best_value(name, pair)
    found = BASELINES[name](*views, value)
    found.chosen = value
    return found


def _of_embeddings(name, pair):
    """Features that are embeddings: as they are, rebuilt, or rotated."""
    data = pair.data
    test = data.X[data.x_rows[data.test]], data.y[data.test]
    if name == "dense":
        return _with_active(*test)
    if name == "reconstruction":
        codes = pair.sae.transform(*test)
        return _with_active(*pair.sae.inverse_transform(*codes), active_of=codes)
    train = data.X[data.x_rows[data.train]], data.y[data.train]
    means = [part.mean(axis=0, dtype=float) for part in train]
    centred = [part - mean for part, mean in zip(train, means, strict=True)]
    left, _, right = np.linalg.svd(centred[0].T @ centred[1], full_matrices=False)
    rotation = left @ right  # orthogonal once the narrower view is padded with zeros
    x, y = (part - mean for part, mean in zip(test, means, strict=True))
    if x.shape[1] < y.shape[1]:
        return _with_active(x @ rotation, y)
    return _with_active(x, y @ rotation.T)


@dataclass
class View:
    """Codes of one view over the standard deviation of each latent in training."""

    train: sparse.csr_array
    test: sparse.csr_array
    mean: np.ndarray  # of the training rows
    alive: np.ndarray  # latents that are kept
    rate: np.ndarray  # of firing

    @functools.cached_property
    def spectrum(self):
        """Eigenvalues and eigenvectors of the correlations within the view."""
        return np.linalg.eigh(correlations(self, self))


def standardised(pair, train, test):
    """Both views with the latents that fire often enough in the training rows."""
    views = []
    for codes in pair.codes:
        codes = codes.astype(float)
        rate = (codes[train] != 0).mean(axis=0)
        mean = codes[train].mean(axis=0)
        square = codes[train].power(2).mean(axis=0)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        alive = np.flatnonzero((rate * len(train) >= MIN_FIRES - 0.5) & (std > 0))
        scaled = sparse.csr_array(codes[:, alive] / std[alive])
        means = mean[alive] / std[alive]
        views.append(View(scaled[train], scaled[test], means, alive, rate[alive]))
    return views


def correlations(x, y):
    """Pearson correlations of the latents of two views over the training rows."""
    product = (x.train.T @ y.train).toarray() / x.train.shape[0]
    return product - np.outer(x.mean, y.mean)


def through(matrix, x, y):
    """The similarity ``u M v / (|u M| |M v|)`` of codes u and v."""
    mapped = x.test @ matrix, y.test @ matrix.T
    of_x, of_y = map(_inverse_lengths, mapped)
    found = as_cosine(mapped[0] * of_x, y.test.toarray() * of_y)
    return _with_active(*found, active_of=mapped)


def _through_translations(pair, matcher):
    """What the cosine of soft codes comes close to: all is translated, of any sign."""
    z_x, z_y = (codes[pair.data.test].astype(float) for codes in pair.codes)
    t_x, t_y = (
        part.weight * (z @ part.source) @ part.target.T
        for z, part in (
            (z_x, matcher.reference_translation_),
            (z_y, matcher.translation_),
        )
    )
    x = np.hstack([t_x, z_x.toarray()]) * _inverse_lengths(t_x)
    y = np.hstack([z_y.toarray(), t_y]) * _inverse_lengths(t_y)
    return _with_active(*as_cosine(x, y), active_of=(t_x, t_y))


def _inverse_lengths(rows):
    """1 over the length of each row as a column, 0 for rows of next to no length."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    known = lengths > SHORTEST * lengths.max()
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=known)


def as_cosine(X, y):
    """Rows of one length each view whose products stay the same up to a factor.

    Two more coordinates, each of one view only, fill up what is missing in length.
    """
    square_x, square_y = (np.square(rows).sum(axis=1) for rows in (X, y))
    rest_x, rest_y = (
        np.sqrt(np.maximum(square.max() - square, 0)) for square in (square_x, square_y)
    )
    zero_x, zero_y = np.zeros_like(rest_x), np.zeros_like(rest_y)
    return np.column_stack([X, rest_x, zero_x]), np.column_stack([y, zero_y, rest_y])


def _shrunk_power(view, shrinkage, power):
    """A power of the correlations within a view, shrunk towards the identity."""
    values, vectors = view.spectrum
    values = (1 - shrinkage) * np.maximum(values, 0) + shrinkage
    return vectors * values**power @ vectors.T


def _centred(x, y):
    """Dense codes of the rows to be compared, minus the means in training."""
    return [view.test.toarray() - view.mean for view in (x, y)]


def ridge(x, y, shrinkage):
    """Mean of two cosines: the prediction from either view and the other's code."""
    between, (u, v) = correlations(x, y), _centred(x, y)
    to_y = _shrunk_power(x, shrinkage, -1) @ between
    to_x = _shrunk_power(y, shrinkage, -1) @ between.T
    parts = [part * _inverse_lengths(part) for part in (u @ to_y, u, v, v @ to_x)]
    return _with_active(np.hstack(parts[:2]), np.hstack(parts[2:]))


def cca(x, y, shrinkage):
    """Canonical variates of shrunk correlations, weighted by how they correlate."""
    of_x, of_y = (_shrunk_power(view, shrinkage, -0.5) for view in (x, y))
    left, values, right = np.linalg.svd(
        of_x @ correlations(x, y) @ of_y, full_matrices=False
    )
    u, v = _centred(x, y)
    weights = np.sqrt(values)
    return _with_active(u @ of_x @ left * weights, v @ of_y @ right.T * weights)


def optimal_transport(x, y, regularisation):
    """The similarity through a transport plan between latents, by firing rate."""
    rates = [view.rate / view.rate.sum() for view in (x, y)]
    cost = 1 - correlations(x, y)
    return through(ot.sinkhorn(*rates, cost, regularisation), x, y)


BASELINES = {"ridge": ridge, "cca": cca, "optimal_transport": optimal_transport}


def _best_value(name, pair):
    """The value of the grid with the best recall@10 on some of the training groups."""
    train, groups = pair.data.train, pair.data.groups
    present = np.random.default_rng(pair.seed).permutation(np.unique(groups[train]))
    n_held_out = max(len(present) // 5, 1)
    fitted = train[np.isin(groups[train], present[n_held_out:])]
    judged = train[np.isin(groups[train], present[: min(n_held_out, VALIDATION)])]
    views = standardised(pair, fitted, judged)

    def recall(value):
        found = BASELINES[name](*views, value)
        ranks = retrieval_ranks(found.X, found.y, groups=groups[judged])
        return ranks.recall(min(10, ranks.x_to_y.n_gallery.min()))

    return max(GRIDS[name], key=recall)


def _tables(fits, measurements, against):
    """Recall beside active coordinates, its ratios, and the dictionaries."""
    recall, means = tabulate(fits, measurements).values()
    wide = pd.concat([means[["active_x", "active_y"]].round(1), recall], axis=1)
    tables = {
        "recall in per cent, mean of seeds [95 % interval]": wide,
        "alignment, mean of seeds": means.drop(columns=["active_x", "active_y"]),
        "dictionaries": pd.DataFrame([fit["quality"] for fit in fits]),
    }
    if against in fits[0]["rows"]:
        name = f"recall over that of {against} [95 % interval]"
        tables[name] = pd.DataFrame(ratios(fits, against)).set_index("method")
    return tables


def ratios(fits, against="hungarian"):
    """Recall of each method over that of one of them, in words."""
    n_groups = len(fits[0]["rows"][against]["hits"]["x_to_y"]["queries"])
    weights = resampled_weights(n_groups)
    rows = []
    for method in fits[0]["rows"]:
        row = {"method": method}
        for direction in DIRECTIONS:
            for depth in (1, 10):
                means, samples = [], []
                for name in (method, against):
                    hits = [fit["rows"][name]["hits"] for fit in fits]
                    of_seeds = [_total_recall(seed, direction, depth) for seed in hits]
                    means.append(np.mean(of_seeds))
                    samples.append(_resampled_recall(hits, direction, depth, weights))
                with np.errstate(divide="ignore", invalid="ignore"):
                    low, high = interval(samples[0] / samples[1])
                    ratio = means[0] / means[1]
                text = f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
                row[f"{direction} @{depth}"] = text
        rows.append(row)
    return rows


def _figures(tables, against):
    """Ratio at recall@10 of each method, both directions, in a few words."""
    parts = []
    for heading, table in tables.items():
        if "recall over" in heading:
            cells = table[["x_to_y @10", "y_to_x @10"]].agg(" and ".join, axis=1)
            of_methods = "; ".join(f"{name} {cell}" for name, cell in cells.items())
            parts.append(f"{heading.partition(':')[0]}: {of_methods}")
    return f"recall@10 over that of {against} " + ". ".join(parts)


if __name__ == "__main__":
    main()
