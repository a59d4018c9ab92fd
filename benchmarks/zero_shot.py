"""Zero-shot class accuracy of the codes of every method, on arrays given by path.

Images are classified by the cosine of their codes to those of class texts, for classes
that no method saw in training and dictionaries of equally many parameters (a shared one
has as many latents as two separate ones). Every split draws the training classes anew.

A training pair is an image with one text of its class, so a pass of a shared dictionary
shows every image once for each template. Separate dictionaries see distinct rows once
in a pass; texts are few, and get half the batch size and three times the passes, so
that both views take comparably many steps: with 7 images and 2 texts for each of 700
classes and the defaults, 600 and 1,080, and a shared dictionary 1,200.
"""

import functools
from typing import NamedTuple

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch
from _methods import PAIRED_METHODS
from scipy import stats

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.datasets import load_array
from skxsae.metrics import zero_shot_accuracy

# of the text dictionary among the separate ones, against that of the images
TEXT_BATCH, TEXT_PASSES = 1 / 2, 3
# read from one fit of two separate dictionaries
SEPARATE = ("post_hoc", "soft", "reconstruction")
SHARED = ("shared", "group_sparse", "group_sparse_mask", "iso_energy_masked")
SHARE, CHANGE = "{:.1f} [{:.1f}, {:.1f}]", "{:+.1f} [{:+.1f}, {:+.1f}]"
METHODS = ["dense", *SEPARATE, *SHARED]


def main(argv=None):
    """Run the methods that were asked for and report them."""
    args = _parse(argv)
    data = load(args.images, args.texts)
    log = FitLog(args.out / "zero_shot.jsonl")
    to_fit = dict.fromkeys("post_hoc" if m in SEPARATE else m for m in args.methods)
    fits = {}
    for number in range(args.splits):
        for seed in args.seeds:
            for name in to_fit:
                key = _key(args, data, name, number, seed)
                fit = log.get_or_run(key, functools.partial(run, key, data))
                fits[name, number, key.get("seed")] = fit
                print(f"{name} split {number}: {fit['seconds']:.0f} s", flush=True)
    fits = list(fits.values())
    rows = measure(fits, args.methods)
    accuracies = [f"{row['method']} {SHARE.format(*row['accuracy'])}" for row in rows]
    title = (
        f"zero-shot: {args.name}, {args.n_latents} latents a view, k {args.k}, "
        f"{args.epochs} epochs, {args.splits} split(s), {len(args.seeds)} seed(s)"
    )
    figures = "accuracy " + "; ".join(accuracies)
    report(args, "zero_shot", title, figures, tabulate(fits, rows), rows, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0])
    add = parser.add_argument
    add("--images", nargs="+", required=True, help="class by class, equally many each")
    add("--texts", nargs="+", required=True, help="templates, a row for each class")
    add("--splits", type=int, default=5, help="random splits of the classes")
    add("--train-classes", type=int, default=700, help="the others are for the test")
    add("--name", default="arrays", help="what the data are called in the report")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("--n-latents", type=int, default=512, help="latents of each view")
    add("-k", type=int, default=64, help="active latents of a sample")
    add("--epochs", type=int, default=60)
    add("--batch-size", type=int, default=512, help="pairs of a gradient step")
    add("--normalize", default="scale")
    return parser.parse_args(argv)


class Data(NamedTuple):
    """Images with their classes, and texts of shape (templates, classes, features)."""

    images: np.ndarray
    classes: np.ndarray
    texts: np.ndarray


def load(images, texts, labels=None):
    """All arrays, with rows of unit length.

    Without the class of each image, classes follow one another, with equally many
    images each.
    """
    texts = np.stack([_unit(load_array(spec)) for spec in texts])
    n_classes = texts.shape[1]
    parts = [_unit(load_array(spec)) for spec in images]
    if labels is not None:
        classes = load_array(labels)
        if len(classes) != sum(map(len, parts)) or classes.max() >= n_classes:
            raise ValueError(f"{labels}: a class below {n_classes} for each image.")
        return Data(np.vstack(parts), classes, texts)
    for spec, part in zip(images, parts, strict=True):
        if len(part) % n_classes:
            raise ValueError(f"{spec}: {len(part)} rows, but {n_classes} classes.")
    classes = [np.arange(len(part)) // (len(part) // n_classes) for part in parts]
    return Data(np.vstack(parts), np.concatenate(classes), texts)


def _unit(rows):
    """Rows scaled to unit length."""
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def split(data, number, n_train):
    """Classes to train on and classes to test, both in order."""
    n_classes = data.texts.shape[1]
    if not 0 < n_train < n_classes:
        raise ValueError(f"--train-classes {n_train} must be in 1 .. {n_classes - 1}.")
    order = np.random.default_rng(number).permutation(n_classes)
    return np.sort(order[:n_train]), np.sort(order[n_train:])


def training_pairs(data, classes):
    """Every image of the classes with every text of its class, and the class."""
    rows = np.flatnonzero(np.isin(data.classes, classes))
    groups = np.tile(data.classes[rows], len(data.texts))
    images = np.tile(data.images[rows], (len(data.texts), 1))
    return images, np.vstack(data.texts[:, data.classes[rows]]), groups


def test_set(data, classes):
    """Images of the classes, the mean text of each class, and the row of each image."""
    rows = np.flatnonzero(np.isin(data.classes, classes))
    texts = _unit(data.texts[:, classes].mean(axis=0))
    return data.images[rows], texts, np.searchsorted(classes, data.classes[rows])


def accuracy(images, texts, labels):
    """Share of the images, in per cent, whose class has the largest cosine.

    A code that is all zero, of the image or of its class, makes a miss.
    """
    return 100 * zero_shot_accuracy(images, texts, labels)


def _key(args, data, method, number, seed):
    """All that a fit depends on."""
    key = {"method": method, "split": number, "shape": list(data.images.shape)}
    names = ("images", "texts", "train_classes")
    if method != "dense":  # that has no parameter, and nothing random but the split
        key["seed"] = seed
        names += ("n_latents", "k", "epochs", "batch_size", "normalize")
    return key | {name: getattr(args, name) for name in names}


def run(key, data):
    """Fit one method and measure it, with a row for each way to read the fit."""
    train, test = split(data, key["split"], key["train_classes"])
    images, texts, labels = test_set(data, test)
    if key["method"] == "dense":
        rows = {"dense": {"accuracy": accuracy(images, texts, labels)}}
        return {"seconds": 0.0, "cpu_seconds": 0.0, "rows": rows}
    *pairs, groups = training_pairs(data, train)
    with stopwatch() as seconds:
        sae = make(key)
        sae.fit(*pairs, **({"groups": groups} if key["method"] == "post_hoc" else {}))
    codes = sae.x_sae_.transform(images), sae.y_sae_.transform(texts)
    quality = {
        "explained_variance_images": sae.x_sae_.score(images),
        "explained_variance_texts": sae.y_sae_.score(texts),
    }
    rows = {key["method"]: {"accuracy": accuracy(*codes, labels), **quality}}
    if key["method"] == "post_hoc":
        of_views = zip((sae.x_sae_, sae.y_sae_), codes, strict=True)
        rebuilt = [view.inverse_transform(part) for view, part in of_views]
        rows["reconstruction"] = {"accuracy": accuracy(*rebuilt, labels)}
        soft = CoactivationMatcher(assignment="soft", n_null=0)
        sae.set_params(matcher=soft).realign(*pairs, groups=groups)
        codes = sae.x_sae_.transform(images), sae.y_sae_.transform(texts)
        rows["soft"] = {"accuracy": accuracy(*codes, labels), **quality}
    return {**seconds, "rows": rows}


def make(key):
    """One dictionary for each view, or one of twice the latents for both."""
    seeds = np.random.SeedSequence([key["split"], key["seed"]]).generate_state(3) // 2
    x_seed, y_seed, seed = (int(seed) for seed in seeds)
    settings = {name: key[name] for name in ("k", "batch_size", "normalize")}
    settings["max_iter"] = key["epochs"]
    if key["method"] != "post_hoc":
        settings |= PAIRED_METHODS[key["method"]]
        return PairedSAE(2 * key["n_latents"], random_state=x_seed, **settings)
    x_sae = TopKSAE(key["n_latents"], random_state=x_seed, **settings)
    y_sae = TopKSAE(key["n_latents"], random_state=y_seed, **settings)
    y_sae.batch_size = max(1, round(TEXT_BATCH * y_sae.batch_size))
    y_sae.max_iter *= TEXT_PASSES
    matcher = CoactivationMatcher(n_null=0)  # no accuracy depends on the noise floor
    settings = {"matcher": matcher, "random_state": seed}
    return PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae, **settings)


def measure(fits, methods):
    """One dict for each method: accuracy and what soft gains on it, in per cent.

    Both are a mean over splits and its interval; seeds of a split are averaged before.
    """
    accuracies = pd.DataFrame(
        {"method": method, "split": fit["key"]["split"], "accuracy": row["accuracy"]}
        for fit in fits
        for method, row in fit["rows"].items()
    ).pivot_table(index="method", columns="split", values="accuracy")
    measurements = []
    for method in methods:
        of_splits = accuracies.loc[method]
        row = {"method": method, "of_splits": of_splits.tolist()}
        row["accuracy"] = t_interval(of_splits)
        if "soft" in methods and method != "soft":
            row["soft_better"] = t_interval(accuracies.loc["soft"] - of_splits)
        measurements.append(row)
    return measurements


def t_interval(values, level=0.95):
    """Mean and the ends of its t-interval, which are NaN for one value."""
    mean, error = mean_and_error(values)
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * error)
    return [mean, mean - half, mean + half]


def tabulate(fits, measurements):
    """Tables to print: accuracy with what soft gains, and quality."""
    cells = ("accuracy", SHARE), ("soft_better", CHANGE)
    table = pd.DataFrame(
        {name: cell.format(*row[name]) for name, cell in cells if name in row}
        for row in measurements
    ).fillna("")
    table.index = [row["method"] for row in measurements]
    tables = {"per cent, mean of splits [95 % t-interval]": table}
    quality = pd.DataFrame(
        {"method": method, "cpu_seconds": fit["cpu_seconds"], **row}
        for fit in fits
        for method, row in fit["rows"].items()
        if method in table.index
    ).drop(columns="accuracy")
    tables["mean of fits"] = quality.groupby("method", sort=False).mean()
    return tables


if __name__ == "__main__":
    main()
