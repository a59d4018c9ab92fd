"""Tables 1 to 4 of the heterogeneity paper, on embeddings given by path.

Reconstruction, recall in both directions on held-out pairs (COCO, with the captions of
an image as one group) and zero-shot accuracy (ImageNet) of a shared dictionary, of the
two with an alignment term and of separate ones before and after their matching, at
equally many parameters. `--table` sets what the paper has there, each setting can be
overridden, and published figures stand beside ours where the name is one of theirs.
Table 3 is Table 1 for other embeddings: run it once for each.
"""

import functools
from typing import NamedTuple

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, own_order, report, stopwatch
from _methods import make_paired, make_post_hoc
from _pairs import Pairs, load_pairs
from _published import METRICS, read_tables
from zero_shot import load as load_classes

from skxsae import CoactivationMatcher
from skxsae.metrics import (
    class_prototypes,
    mean_squared_reconstruction_error,
    retrieval_ranks,
    zero_shot_accuracy,
)

TABLES = {
    1: {"k": [32]},
    2: {"k": [16, 64]},
    3: {"k": [32]},
    4: {"k": [32], "activation": "batch_topk"},
}
# latents of a shared dictionary for each feature: 8,192 of 512, 12,288 of 768
EXPANSION = 16
# the authors ran the masked form of the iso-energy term
PAIRED = {
    "shared": "shared",
    "iso_energy": "iso_energy_masked",
    "group_sparse": "group_sparse",
    "group_sparse_mask": "group_sparse_mask",
}
SEPARATE = ("separate", "post_hoc", "soft")  # read from one fit
METHODS = [*PAIRED, *SEPARATE]


def main(argv=None):
    """Run the methods that were asked for and report them."""
    args = _parse(argv)
    data = load(args)
    log = FitLog(args.out / "tables.jsonl")
    fits = {}
    for k in args.k:
        for seed in args.seeds:
            for method in dict.fromkeys(map(_fit_of, args.methods)):
                key = _key(args, data, method, k, seed)
                fit = log.get_or_run(key, functools.partial(run, key, data))
                fits[method, k, seed] = fit
                print(f"{method} k {k} seed {seed}: {fit['seconds']:.0f} s", flush=True)
    fits = list(fits.values())
    rows = measure(fits, args.methods, args.name, args.activation)
    title = (
        f"table {args.table}: {args.name}, {fits[0]['key']['n_latents']} latents a "
        f"view, {args.activation} k {', '.join(map(str, args.k))}, "
        f"{args.epochs} epochs, {len(args.seeds)} seed(s)"
    )
    report(args, "tables", title, _figures(rows), tabulate(rows), rows, fits)


def _parse(argv):
    """Arguments of the command line, a table filling in its settings."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--table", type=int, choices=TABLES, default=1)
    folder = "two arrays, or a folder with img_emb and text_emb"
    add("--train", nargs="+", required=True, help=f"training pairs: {folder}")
    add("--train-groups", help="group of each pair, such as its image; or a column")
    add("--test", help="mask of the training pairs that recall is measured on instead")
    add("--retrieval", nargs="+", help=f"pairs to measure recall on: {folder}")
    add("--retrieval-groups", help="group of each of them")
    add("--class-images", nargs="+", help="images of the classes; see --class-labels")
    add("--class-labels", help="class of each; else class by class, equally many each")
    add("--class-texts", nargs="+", help="templates, a row for each class")
    add("--name", default="arrays", help="embedding, such as 'CLIP ViT-B/32'")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("-k", type=int, nargs="+", help="active latents of a sample")
    add("--activation", default="topk")
    add("--n-latents", type=int, help="of a shared dictionary, twice those of a view")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=1024, help="pairs of a gradient step")
    add("--normalize", default="scale")
    table = parser.parse_args(argv).table
    parser.set_defaults(**TABLES[table])
    args = parser.parse_args(argv)
    if args.retrieval is None and args.test is None and args.class_images is None:
        parser.error("nothing to measure: give --retrieval, --test or --class-images.")
    if (args.class_images is None) != (args.class_texts is None):
        parser.error("--class-images and --class-texts go together.")
    if args.retrieval is not None and args.test is not None:
        parser.error("--test takes the place of --retrieval: give one of them.")
    return args


class Data(NamedTuple):
    """What is trained on, and what is measured on, if it was given."""

    train: Pairs
    retrieval: Pairs | None
    classes: tuple | None  # images, their classes, prototypes


def load(args):
    """All arrays, in rows of unit length."""
    train, retrieval = load_pairs(args.train, args.train_groups, args.test)
    if args.retrieval is not None:
        retrieval, _ = load_pairs(args.retrieval, args.retrieval_groups)
    classes = None
    if args.class_images is not None:
        data = load_classes(args.class_images, args.class_texts, args.class_labels)
        prototypes = class_prototypes(np.swapaxes(data.texts, 0, 1))
        classes = data.images, data.classes, prototypes.astype(np.float32)
    return Data(train, retrieval, classes)


def _fit_of(method):
    """The fit that a method is read from."""
    return "post_hoc" if method in SEPARATE else method


def _key(args, data, method, k, seed):
    """All that a fit and its figures depend on."""
    names = ("train", "train_groups", "test", "retrieval", "retrieval_groups")
    names += ("class_images", "class_labels", "class_texts")
    names += ("activation", "epochs", "batch_size", "normalize")
    n_latents = args.n_latents or EXPANSION * data.train.X.shape[1]
    return {
        **{name: getattr(args, name) for name in names},
        "method": PAIRED.get(method, method),
        "k": k,
        "seed": seed,
        "n_latents": n_latents // 2,
        "n_train": len(data.train.y),
        "n_x": len(np.unique(data.train.groups)),
    }


def run(key, data):
    """Fit one method and measure it, with a row for each way to read the fit."""
    X, y, groups = data.train
    name = next((n for n, form in PAIRED.items() if form == key["method"]), None)
    if name is not None:
        with stopwatch() as seconds:
            sae = make_paired(key).fit(X, y)
        return {**seconds, "rows": {name: evaluate(sae, data)}}
    with stopwatch() as seconds:
        sae = make_post_hoc(key)
        sae.set_params(matcher=CoactivationMatcher(n_null=0))
        sae.fit(X, y, groups=groups)
    order = functools.partial(own_order, sae)
    rows = {"separate": evaluate(sae, data, order), "post_hoc": evaluate(sae, data)}
    soft = CoactivationMatcher(assignment="soft", n_null=0)
    sae.set_params(matcher=soft).realign(X, y, groups=groups)
    rows["soft"] = evaluate(sae, data)
    return {**seconds, "rows": rows}


def evaluate(sae, data, order=lambda *codes: codes):
    """The columns of the tables that the data allow; shares are in per cent.

    `mse` is the mean of both views over the pairs, `class_mse` of the class images.
    """
    figures = {}
    if data.retrieval is not None:
        X, y, groups = data.retrieval
        Zx, Zy = sae.x_sae_.transform(X), sae.y_sae_.transform(y)
        figures["mse"] = (_mse(sae.x_sae_, X, Zx) + _mse(sae.y_sae_, y, Zy)) / 2
        ranks = retrieval_ranks(*order(Zx, Zy), groups=groups)
        found = {"image_to_text": ranks.x_to_y, "text_to_image": ranks.y_to_x}
        for name in METRICS[1:-2]:
            direction, depth = name.split("@")
            figures[name] = 100 * float(found[direction].hits(int(depth)).mean())
    if data.classes is not None:
        images, classes, prototypes = data.classes
        Zx, Zy = sae.x_sae_.transform(images), sae.y_sae_.transform(prototypes)
        figures["class_mse"] = _mse(sae.x_sae_, images, Zx)
        figures["zero_shot"] = 100 * zero_shot_accuracy(*order(Zx, Zy), classes)
    return figures


def _mse(view, X, Z):
    """Squared error summed over features."""
    return mean_squared_reconstruction_error(X, view.inverse_transform(Z))


def measure(fits, methods, name, activation):
    """One dict for each k, method and metric: ours, and the published figure if any."""
    published = read_tables()
    values = {}
    for fit in fits:
        for method in methods:
            for metric, value in fit["rows"].get(method, {}).items():
                key = fit["key"]["k"], method, metric
                values.setdefault(key, []).append(value)
    rows = []
    for (k, method, metric), of_seeds in values.items():
        mean, error = mean_and_error(of_seeds)
        row = {"k": k, "method": method, "metric": metric, "mean": mean}
        row |= {"standard_error": error, "of_seeds": of_seeds}
        known = published.get((name, activation, k, method))
        if known is not None:
            value, spread = known[metric]
            row |= {"published": value, "published_spread": spread}
            row["difference"] = mean - value
        rows.append(row)
    return rows


def tabulate(rows):
    """For each k a table of ours, and one with the published figures between."""
    tables = {}
    for k in sorted({row["k"] for row in rows}):
        cells = {}
        for row in rows:
            if row["k"] != k:
                continue
            for kind, text in _cells(row).items():
                cells.setdefault((row["method"], kind), {})[row["metric"]] = text
        heading = f"k {k}, recall and accuracy in per cent, mean ± standard error"
        table = pd.DataFrame.from_dict(cells, orient="index").fillna("")
        compared = any(kind == "published" for _, kind in cells)
        tables[heading] = table if compared else table.droplevel(1)
    return tables


def _cells(row):
    """Ours, the published figure and the difference in words."""
    digits = 3 if "mse" in row["metric"] else 1
    mean, error = row["mean"], row["standard_error"]
    spread = "" if np.isnan(error) else f" ± {error:.{digits}f}"
    cells = {"ours": f"{mean:.{digits}f}{spread}"}
    if "published" in row:
        cells["published"] = f"{row['published']:.{digits}f}"
        cells["difference"] = f"{row['difference']:+.{digits}f}"
    return cells


def _figures(rows):
    """Recall@1 in both directions and accuracy of each method, in a few words."""
    shown = ("image_to_text@1", "text_to_image@1", "zero_shot")
    parts = {}
    for row in rows:
        if row["metric"] in shown:
            name = f"{row['method']} (k {row['k']})"
            parts.setdefault(name, []).append(_cells(row)["ours"])
    of_methods = [f"{name} {' / '.join(cells)}" for name, cells in parts.items()]
    measured = [name for name in shown if any(row["metric"] == name for row in rows)]
    return f"{' / '.join(measured)}: {'; '.join(of_methods)}"


if __name__ == "__main__":
    main()
