"""What a model learns from few pairs: retrieval and honest matches against sample size.

`PostHocAlignedSAE` on growing subsets of the training groups, with automatic sizes or
given ones: recall@10 on the same held-out pairs, the share of matches that beat the
re-paired null, and the explained variance of held-out samples.
"""

import functools

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch

from skxsae import PostHocAlignedSAE
from skxsae.datasets import load_paired_arrays
from skxsae.metrics import retrieval_ranks


def main(argv=None):
    """Run every size and seed that was asked for and report them."""
    args = _parse(argv)
    data = load_paired_arrays(
        args.x, args.y, groups=args.groups, x_rows=args.x_rows, test=args.test
    )
    log, fits = FitLog(args.out / "learning_curves.jsonl"), []
    for n_groups in args.sizes:
        for n_latents in args.n_latents:
            for seed in args.seeds:
                key = {
                    "data": [args.x, args.y, args.groups, args.x_rows, args.test],
                    "n_groups": n_groups,
                    "n_latents": n_latents,
                    "k": args.k,
                    "max_iter": args.max_iter,
                    "seed": seed,
                }
                fit = log.get_or_run(key, functools.partial(run, key, data))
                print(
                    f"{n_groups} groups, {n_latents} latents, seed {seed}: "
                    f"recall@10 {fit['recall_x_to_y']:.3f} {fit['recall_y_to_x']:.3f}, "
                    f"above noise {fit['above_noise']:.2f}, {fit['seconds']:.0f} s",
                    flush=True,
                )
                fits.append(fit)
    table = summary(fits)
    last = table.iloc[-1]
    n_groups = table["n_groups"].iloc[-1]
    figures = (
        f"at {n_groups} groups recall@10 {last['recall_x_to_y']:.3f} and "
        f"{last['recall_y_to_x']:.3f}, above noise {last['above_noise']:.2f}"
    )
    title = f"learning_curves: {args.name}, {len(args.seeds)} seed(s)"
    measurements = table.to_dict(orient="records")
    report(
        args, "learning_curves", title, figures, {"means": table}, measurements, fits
    )


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--name", default="pairs", help="what the data are called")
    for view in ("x", "y"):
        parser.add_argument(f"--{view}", required=True, help=".npy or .npz:name")
    parser.add_argument("--groups", help="group of each pair")
    parser.add_argument("--x-rows", help="row of x of each row of y")
    parser.add_argument("--test", help="mask of the held-out pairs")
    parser.add_argument("--sizes", nargs="+", type=_size, default=[1000, 5000, "all"])
    parser.add_argument("--n-latents", nargs="+", type=_size, default=["auto"])
    parser.add_argument("-k", type=int, default=32)
    parser.add_argument("--max-iter", type=_size, default="auto")
    return parser.parse_args(argv)


def _size(text):
    """A number, or the word it is."""
    return int(text) if text.isdigit() else text


def run(key, data):
    """Fit one model on a subset of the training groups and score it."""
    groups = np.unique(data.groups[data.train])
    if key["n_groups"] != "all":
        rng = np.random.default_rng(key["seed"])
        groups = rng.choice(groups, key["n_groups"], replace=False)
    rows = data.train[np.isin(data.groups[data.train], groups)]
    sae = PostHocAlignedSAE(
        key["n_latents"], key["k"], max_iter=key["max_iter"], random_state=key["seed"]
    )
    with stopwatch() as seconds:
        sae.fit(data.X[data.x_rows[rows]], data.y[rows], groups=data.groups[rows])
    test = data.test
    X, y = data.X[data.x_rows[test]], data.y[test]
    ranks = retrieval_ranks(*sae.transform(X, y), groups=data.groups[test])
    distinct = np.unique(data.x_rows[test])
    return {
        "n_pairs": len(rows),
        "fitted_latents": [sae.x_sae_.encoder_.any(axis=1).sum().item()],
        "fitted_k": [sae.x_sae_.k_, sae.y_sae_.k_],
        "passes": [sae.x_sae_.n_iter_, sae.y_sae_.n_iter_],
        "recall_x_to_y": ranks.recall(10, direction="x_to_y"),
        "recall_y_to_x": ranks.recall(10, direction="y_to_x"),
        "above_noise": float(sae.matches_["above_noise"].mean()),
        "mutual": float(sae.matches_["mutual"].mean()),
        "explained_variance_x": sae.x_sae_.score(data.X[distinct]),
        "explained_variance_y": sae.y_sae_.score(y),
        **seconds,
    }


def summary(fits):
    """Means over seeds, a row for each size."""
    names = (
        "recall_x_to_y",
        "recall_y_to_x",
        "above_noise",
        "mutual",
        "explained_variance_x",
        "explained_variance_y",
        "cpu_seconds",
    )
    by_size = {}
    for fit in fits:
        size = fit["key"]["n_groups"], fit["key"]["n_latents"]
        by_size.setdefault(size, []).append(fit)
    return pd.DataFrame(
        [
            {
                "n_groups": n_groups,
                "n_latents": fits[0]["fitted_latents"][0],
                "k": fits[0]["fitted_k"][0],
                **{name: mean_and_error([f[name] for f in fits])[0] for name in names},
            }
            for (n_groups, _), fits in by_size.items()
        ]
    )


if __name__ == "__main__":
    main()
