"""How many latents are dead, active in one view or in both, for every method.

The split that the group-sparse paper reports for CLIP ViT-B/16: a shared dictionary,
the same with the group-sparse term, and with masking too; beside them the iso-energy
term and separate dictionaries of half the latents each after their matching. A matched
pair of latents is one column there, so that there are about half as many columns:
shares are of the columns of the codes.
"""

import functools

import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch
from _methods import make_paired, make_post_hoc
from _pairs import load_pairs

from skxsae import CoactivationMatcher
from skxsae.metrics import explained_variance_ratio, support_split

# the authors of the iso-energy term ran its masked form
METHODS = ["shared", "group_sparse", "group_sparse_mask", "iso_energy_masked"]
METHODS += ["post_hoc"]
KINDS = ("dead", "x_only", "y_only", "both")
EXPANSION = 16

# of 8,192 latents, k 32, trained and counted on CC3M
PUBLISHED_SOURCE = "group-sparse paper, CLIP ViT-B/16"
PUBLISHED_LATENTS = 8192
PUBLISHED = {
    "shared": {"dead": 441, "both": 4618},
    "group_sparse": {"dead": 188, "both": 5823},
    "group_sparse_mask": {"dead": 136, "both": 6230},
}


def main(argv=None):
    """Run the methods that were asked for and report them."""
    args = _parse(argv)
    train, held_out = load_pairs(args.train, args.train_groups, args.test)
    if args.pairs is not None:
        held_out, _ = load_pairs(args.pairs)
    counted = train if held_out is None else held_out
    log = FitLog(args.out / "neuron_split.jsonl")
    fits = []
    for seed in args.seeds:
        for method in args.methods:
            key = _key(args, train, counted, method, seed)
            run_it = functools.partial(run, key, train, counted)
            fits.append(log.get_or_run(key, run_it))
            print(f"{method} seed {seed}: {fits[-1]['seconds']:.0f} s", flush=True)
    rows = measure(fits)
    title = (
        f"neuron split: {args.name}, {2 * fits[0]['key']['n_latents']} latents, "
        f"k {args.k}, {args.epochs} epochs, {len(args.seeds)} seed(s)"
    )
    report(args, "neuron_split", title, _figures(rows), tabulate(rows), rows, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    folder = "two arrays, or a folder with img_emb and text_emb"
    add("--train", nargs="+", required=True, help=f"training pairs: {folder}")
    add("--train-groups", help="group of each pair, such as its image; or a column")
    add("--test", help="mask of the training pairs that are held out, to count on")
    add("--pairs", nargs="+", help="pairs to count on instead")
    add("--min-fires", type=int, default=1, help="samples that make a latent active")
    add("--name", default="arrays", help="what the data are called in the report")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("-k", type=int, default=32, help="active latents of a sample")
    add("--n-latents", type=int, help="of a shared dictionary, twice those of a view")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=1024, help="pairs of a gradient step")
    add("--normalize", default="scale")
    args = parser.parse_args(argv)
    if args.test is not None and args.pairs is not None:
        parser.error("--test takes the place of --pairs: give one of them.")
    return args


def _key(args, train, counted, method, seed):
    """All that a fit and its figures depend on."""
    names = ("train", "train_groups", "test", "pairs", "min_fires")
    names += ("k", "epochs", "batch_size", "normalize")
    n_latents = args.n_latents or EXPANSION * train.X.shape[1]
    return {
        **{name: getattr(args, name) for name in names},
        "method": method,
        "seed": seed,
        "n_latents": n_latents // 2,
        "n_train": len(train.y),
        "n_x": len(set(train.groups.tolist())),
        "n_counted": len(counted.y),
    }


def run(key, train, counted):
    """Fit one method and count its latents."""
    X, y, groups = train
    with stopwatch() as seconds:
        if key["method"] == "post_hoc":
            sae = make_post_hoc(key).set_params(matcher=CoactivationMatcher(n_null=0))
            sae.fit(X, y, groups=groups)
        else:
            sae = make_paired(key).fit(X, y)
    return {**seconds, "row": count(sae, counted, key)}


def count(sae, counted, key):
    """Latents by the views that they are active in, and explained variance."""
    Zx, Zy = sae.transform(counted.X, counted.y)
    split = support_split(Zx, Zy, min_fires=key["min_fires"])
    numbers = {name: int(getattr(split, name).sum()) for name in KINDS[1:]}
    rebuilt = sae.inverse_transform(Zx, Zy)
    return {
        "dead": Zx.shape[1] - sum(numbers.values()),
        **numbers,
        "explained_variance_x": explained_variance_ratio(counted.X, rebuilt[0]),
        "explained_variance_y": explained_variance_ratio(counted.y, rebuilt[1]),
    }


def measure(fits):
    """One dict for each method and column, with the published figure if there is one.

    Shares are of the columns of the codes: of the latents of a dictionary for both
    views, of the pairs and the unmatched latents of two that were matched.
    """
    values = {}
    for fit in fits:
        for column, value in fit["row"].items():
            values.setdefault((fit["key"]["method"], column), []).append(value)
    rows = []
    for (method, column), of_seeds in values.items():
        mean, error = mean_and_error(of_seeds)
        row = {"method": method, "column": column, "mean": mean}
        row |= {"standard_error": error, "of_seeds": of_seeds}
        if column in KINDS:
            n_columns = sum(sum(values[method, kind]) for kind in KINDS)
            row["share"] = sum(of_seeds) / n_columns
            published = PUBLISHED.get(method, {}).get(column)
            if published is not None:
                row["published"] = published
                row["published_share"] = published / PUBLISHED_LATENTS
        rows.append(row)
    return rows


def tabulate(rows):
    """Tables to print: numbers of latents, and their shares beside the published."""
    frame = pd.DataFrame(rows)
    numbers = _wide(frame, "mean")
    numbers[list(KINDS)] = numbers[list(KINDS)].round().astype(int)
    counts = frame[frame["column"].isin(KINDS)]
    shares = _wide(counts, "share")
    if "published_share" in counts:
        published = _wide(counts.dropna(subset="published_share"), "published_share")
        shares = shares.join(published.add_suffix(" (published)"))
    return {
        "columns of the codes, mean of seeds": numbers,
        f"share of the columns, beside the {PUBLISHED_SOURCE}": shares,
    }


def _wide(frame, values):
    """A row for each method and a column for each figure, in their order."""
    wide = frame.pivot(index="method", columns="column", values=values)
    order = frame["method"].unique(), frame["column"].unique()
    return wide.reindex(index=order[0], columns=order[1]).rename_axis(columns=None)


def _figures(rows):
    """Share of dead latents and of those in both views, in a few words."""
    shares = {(row["method"], row["column"]): row.get("share") for row in rows}
    parts = [
        f"{method} {shares[method, 'dead']:.3f} / {shares[method, 'both']:.3f}"
        for method in dict.fromkeys(row["method"] for row in rows)
    ]
    return f"share dead / in both views: {'; '.join(parts)}"


if __name__ == "__main__":
    main()
