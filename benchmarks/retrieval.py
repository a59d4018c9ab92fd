"""Cross-view retrieval with the codes of every method, on arrays given by path.

Table 1 of the heterogeneity paper without its zero-shot columns: reconstruction of each
view and recall@1, 5 and 10 in both directions on held-out pairs, for dictionaries of
equally many parameters (a shared one has as many latents as two separate ones).
"""

import functools

import numpy as np
import pandas as pd
from _common import (
    FitLog,
    interval,
    make_parser,
    mean_and_error,
    own_order,
    report,
    resampled_means,
    resampled_weights,
    stopwatch,
)
from _methods import PAIRED_METHODS, RIVALS, make_paired, make_post_hoc

from skxsae import PairedSAE
from skxsae.datasets import load_paired_arrays
from skxsae.metrics import mean_squared_reconstruction_error, retrieval_ranks

DEPTHS = (1, 5, 10)
DIRECTIONS = ("x_to_y", "y_to_x")

METHODS = ["dense", *PAIRED_METHODS, *RIVALS, "post_hoc"]
OF_ANY_WIDTH = [*RIVALS, "post_hoc"]


def main(argv=None):
    """Run the methods that were asked for and report them."""
    args = _parse(argv)
    data = load_paired_arrays(
        args.x, args.y, groups=args.groups, x_rows=args.x_rows, test=args.test
    )
    methods = _applicable(args.methods, data)
    log = FitLog(args.out / "retrieval.jsonl")
    fits = {}
    for seed in args.seeds:
        for method in methods:
            key = _key(args, data, method, seed)
            fit = log.get_or_run(key, functools.partial(run, key, data))
            fits[method, key.get("seed")] = fit
            print(f"{method} seed {seed}: {fit['seconds']:.0f} s", flush=True)
    fits = list(fits.values())
    measurements = measure(fits)
    title = (
        f"retrieval: {args.name}, {args.n_latents} latents a view, k {args.k}, "
        f"{args.epochs} epochs, {len(args.seeds)} seed(s)"
    )
    tables = tabulate(fits, measurements)
    report(args, "retrieval", title, _figures(measurements), tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--x", required=True, help="first view: file.npy or file.npz:name")
    add("--y", required=True, help="second view")
    add("--groups", help="group of each pair, such as the row of a caption's image")
    add("--x-rows", help="row of x of each row of y, where groups do not tell it")
    add("--test", help="mask of the held-out pairs, or of the held-out rows of x")
    add("--name", default="arrays", help="what the data are called in the report")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("--n-latents", type=int, default=1024, help="latents of each view")
    add("-k", type=int, default=16, help="active latents of a sample")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=1024, help="pairs of a gradient step")
    add("--normalize", default="scale")
    return parser.parse_args(argv)


def _applicable(methods, data):
    """The methods that views of these widths allow."""
    if data.X.shape[1] == data.y.shape[1]:
        return methods
    left_out = [name for name in methods if name not in OF_ANY_WIDTH]
    print(
        f"The views are {data.X.shape[1]} and {data.y.shape[1]} wide: "
        f"{', '.join(left_out) or 'nothing'} is left out."
    )
    return [name for name in methods if name in OF_ANY_WIDTH]


def _key(args, data, method, seed):
    """All that a fit depends on."""
    data_names = ("x", "y", "groups", "x_rows", "test")
    names = ("n_latents", "k", "epochs", "batch_size", "normalize")
    of_data = {name: getattr(args, name) for name in data_names}
    settings = {name: getattr(args, name) for name in names}
    n_x = len(np.unique(data.x_rows[data.train]))
    sizes = {"n_train": len(data.train), "n_x": n_x, "n_test": len(data.test)}
    if method == "dense":  # nothing random, and no parameter
        return {"method": method, **of_data, **sizes}
    return {"method": method, "seed": seed, **of_data, **settings, **sizes}


def run(key, data):
    """Fit one method and measure it, with a row for each way to read the fit."""
    train = data.X[data.x_rows[data.train]], data.y[data.train]
    test = data.X[data.x_rows[data.test]], data.y[data.test]
    groups = data.groups[data.test]
    if key["method"] == "dense":
        return {
            "seconds": 0.0,
            "cpu_seconds": 0.0,
            "rows": {"dense": _recall(*test, groups)},
        }
    with stopwatch() as seconds:
        if key["method"] == "post_hoc":
            sae = make_post_hoc(key).fit(*train, groups=data.groups[data.train])
        else:
            sae = make_paired(key).fit(*train)
    # each view alone: a crosscoder's joint code would tell a query its answer
    codes = sae.x_sae_.transform(test[0]), sae.y_sae_.transform(test[1])
    quality = _quality(sae, test, codes, data)
    rows = {key["method"]: _recall(*codes, groups) | quality}
    if key["method"] == "post_hoc":
        rows["post_hoc"] |= _match_quality(sae)
        rows["separate"] = _recall(*own_order(sae, *codes), groups) | quality
        if test[0].shape[1] == test[1].shape[1]:
            rebuilt = sae.inverse_transform(*codes)
            rows["reconstruction"] = _recall(*rebuilt, groups)
    return {**seconds, "rows": rows}


def _recall(X, y, groups):
    """Hits and number of queries of each group, for both directions and all depths."""
    ranks = retrieval_ranks(X, y, groups=groups)
    numbers = np.unique(groups, return_inverse=True)[1]
    hits = {}
    for direction in DIRECTIONS:
        found = getattr(ranks, direction)
        of_query = numbers[found.queries]
        columns = {"queries": np.ones(len(of_query))}
        columns.update((str(depth), found.hits(depth)) for depth in DEPTHS)
        hits[direction] = {
            name: np.bincount(of_query, column, minlength=numbers.max() + 1).tolist()
            for name, column in columns.items()
        }
    return {"hits": hits}


def _quality(sae, test, codes, data):
    """Reconstruction of each view, every distinct row of x once, and dead latents."""
    distinct = np.unique(data.x_rows[data.test], return_index=True)[1]
    views = {"x": (sae.x_sae_, distinct), "y": (sae.y_sae_, slice(None))}
    quality = {}
    for (name, (view, rows)), X, Z in zip(views.items(), test, codes, strict=True):
        rebuilt = view.inverse_transform(Z[rows])
        quality[f"explained_variance_{name}"] = view.score(X[rows])
        quality[f"mse_{name}"] = mean_squared_reconstruction_error(X[rows], rebuilt)
    return {**quality, "dead_latents": _n_dead(sae)}


def _n_dead(sae):
    """Latents that fire for no training sample of any view they belong to."""
    alive = [view.firing_rate_ > 0 for view in (sae.x_sae_, sae.y_sae_)]
    if isinstance(sae, PairedSAE):
        return int(sae.x_sae_.n_latents_ - np.sum(alive[0] | alive[1]))
    n_latents = sae.x_sae.n_latents + sae.y_sae.n_latents
    return int(n_latents - alive[0].sum() - alive[1].sum())


def _match_quality(sae):
    """Size and strength of a matching."""
    return {
        "matched": len(sae.matches_),
        "share_above_noise": float(sae.matches_["above_noise"].mean()),
        "median_correlation": float(sae.matches_["correlation"].median()),
    }


def measure(fits):
    """One dict for each method, direction and depth: recall and its intervals, in %."""
    by_method = {}
    for fit in fits:
        for method, row in fit["rows"].items():
            by_method.setdefault(method, []).append(row["hits"])
    n_groups = len(next(iter(by_method.values()))[0]["x_to_y"]["queries"])
    weights = resampled_weights(n_groups)
    measurements = []
    for direction in DIRECTIONS:
        for depth in DEPTHS:
            samples = {
                method: _resampled_recall(hits, direction, depth, weights)
                for method, hits in by_method.items()
            }
            for method, hits in by_method.items():
                of_seeds = [_total_recall(seed, direction, depth) for seed in hits]
                mean, error = mean_and_error(of_seeds)
                low, high = interval(samples[method])
                row = {"method": method, "direction": direction, "depth": depth}
                row |= {"recall": mean, "seed_error": error, "low": low, "high": high}
                if method != "post_hoc" and "post_hoc" in by_method:
                    low, high = interval(samples["post_hoc"] - samples[method])
                    row |= {"post_hoc_better_low": low, "post_hoc_better_high": high}
                measurements.append(row)
    return measurements


def _total_recall(hits, direction, depth):
    """Recall over all queries of one fit, in per cent."""
    hits = hits[direction]
    return 100 * np.sum(hits[str(depth)]) / np.sum(hits["queries"])


def _resampled_recall(hits_of_seeds, direction, depth, weights):
    """Recall, mean of the seeds, in each resample of the query groups, in per cent."""
    of_seeds = [
        resampled_means(
            np.array(hits[direction][str(depth)]),
            np.array(hits[direction]["queries"]),
            weights,
        )
        for hits in hits_of_seeds
    ]
    return 100 * np.mean(of_seeds, axis=0)


def tabulate(fits, measurements):
    """Tables to print: recall, the differences to post-hoc alignment, and quality."""
    frame = pd.DataFrame(measurements)
    frame["column"] = frame["direction"] + " @" + frame["depth"].astype(str)
    frame["cell"] = [
        f"{recall:.1f} [{low:.1f}, {high:.1f}]"
        for recall, low, high in frame[["recall", "low", "high"]].to_numpy()
    ]
    tables = {"recall in per cent, mean of seeds [95 % interval]": _wide(frame)}
    if "post_hoc_better_low" in frame:
        rest = frame[frame["method"] != "post_hoc"].copy()
        rest["cell"] = [
            f"[{low:+.1f}, {high:+.1f}]"
            for low, high in rest[
                ["post_hoc_better_low", "post_hoc_better_high"]
            ].to_numpy()
        ]
        tables["recall of post_hoc minus that of the method, 95 % interval"] = _wide(
            rest
        )
    quality = [
        {"method": method, "cpu_seconds": fit["cpu_seconds"], **row}
        for fit in fits
        for method, row in fit["rows"].items()
        if len(row) > 1
    ]
    if quality:
        table = pd.DataFrame(quality).drop(columns="hits")
        tables["mean of seeds"] = table.groupby("method", sort=False).mean()
    return tables


def _wide(frame):
    """One row for each method, one column for each direction and depth."""
    wide = frame.pivot(index="method", columns="column", values="cell")
    return wide.reindex(
        index=frame["method"].unique(), columns=frame["column"].unique()
    ).rename_axis(columns=None)


def _figures(measurements):
    """Recall@10 of each method, both directions, in a few words."""
    parts = {}
    for row in measurements:
        if row["depth"] == 10:
            parts.setdefault(row["method"], []).append(
                f"{row['recall']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
            )
    return "recall@10 " + "; ".join(
        f"{method} {' and '.join(cells)}" for method, cells in parts.items()
    )


if __name__ == "__main__":
    main()
