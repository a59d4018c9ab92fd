"""How often the names of concepts are right, against labels of held-out images.

A dictionary of images and one of texts are trained and matched; concepts are named in
each of the ways of `skxsae.inspection.name_latents`. A name stands for a label: a
class, or the group of emoji that most training emoji with this term belong to. It is
right if the latent of the *images* is on average most active on held-out images of this
label.
`shuffled` gives the names of "terms" to other concepts, which is chance.

Without arrays, the data are the emoji that come with the package: labels are their 98
subcategories, and pictures are held out. With arrays, rows of images are class by
class, equally many each, and a class has one text to train on and one in the
vocabulary.
"""

import functools

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch

from skxsae import PostHocAlignedSAE
from skxsae.datasets import load_array, load_emoji
from skxsae.inspection import name_latents

ARRAYS = ("train_images", "test_images", "texts", "vocabulary")
N_BEST = 5


def main(argv=None):
    """Fit, name, and report how many names are right."""
    args = _parse(argv)
    data = load_classes(args) if args.train_images else load_groups_of_emoji()
    log = FitLog(args.out / "naming.jsonl")
    fits = []
    for seed in args.seeds:
        names = (*ARRAYS, "n_latents", "k", "epochs")
        key = {"seed": seed, **{name: getattr(args, name) for name in names}}
        fits.append(log.get_or_run(key, functools.partial(run, key, data)))
    rows = measure(fits)
    table = pd.DataFrame(rows).set_index(["concepts", "method"])
    title = (
        f"naming: {args.name}, {args.n_latents} latents a view, k {args.k}, "
        f"{args.epochs} epochs, {len(args.seeds)} seed(s)"
    )
    figures = "right, per cent: " + "; ".join(
        f"{row['method']} {row['right']:.1f}"
        for row in rows
        if row["concepts"] == "all"
    )
    report(args, "naming", title, figures, {"per cent of names": table}, rows, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--train-images", help="class by class; without it the emoji are used")
    add("--test-images", help="class by class")
    add("--texts", help="a row for each class, paired with its training images")
    add("--vocabulary", help="a row for each class, to name concepts by")
    add("--name", default="emoji", help="what the data are called in the report")
    add("--n-latents", type=int, default=256, help="latents of each view")
    add("-k", type=int, default=8, help="active latents of a sample")
    add("--epochs", default="auto", type=lambda v: v if v == "auto" else int(v))
    return parser.parse_args(argv)


def load_classes(args):
    """Pairs of images and the text of their class, which is their only caption."""
    train, test, texts, vocabulary = (
        normalize(np.asarray(load_array(getattr(args, name)), dtype=np.float32))
        for name in ARRAYS
    )
    n_classes = len(texts)
    of_train, of_test = (
        np.arange(len(X)) // (len(X) // n_classes) for X in (train, test)
    )
    words = np.array([f"class {i}" for i in range(n_classes)])
    return Bunch(
        X=train,
        y=texts[of_train],
        groups=of_train,
        captions=words[of_train],
        vectorizer=CountVectorizer(analyzer=whole),
        vocabulary=(vocabulary, words),
        one_space=True,
        test=test,
        labels=of_test,
        label_of={word: i for i, word in enumerate(words)},
    )


def whole(text):
    """A text as its only term."""
    return [text]


def load_groups_of_emoji():
    """Pictures of emoji and their texts, with the group of each."""
    data = load_emoji()
    train = ~data.test
    groups, labels = np.unique(data.subcategories, return_inverse=True)
    held_out = np.unique(data.groups[data.test], return_index=True)[1]
    vectorizer = CountVectorizer(ngram_range=(1, 2), min_df=2)
    present = vectorizer.fit_transform(data.texts[train]).tocsc()
    terms = vectorizer.get_feature_names_out()
    label_of = {
        term: np.bincount(labels[train][present[:, [j]].indices], minlength=len(groups))
        for j, term in enumerate(terms)
    }
    names = train & (data.texts == data.names)
    label_of = {term: int(counts.argmax()) for term, counts in label_of.items()}
    label_of |= dict(zip(data.names[names], labels[names].tolist(), strict=True))
    return Bunch(
        X=data.X[train],
        y=data.y[train],
        groups=data.groups[train],
        captions=data.texts[train],
        vectorizer=vectorizer,
        vocabulary=(data.y[names], data.names[names]),
        one_space=False,
        test=data.X[data.test][held_out],
        labels=labels[data.test][held_out],
        label_of=label_of,
    )


def run(key, data):
    """Fit one seed and judge the names of every method."""
    with stopwatch() as seconds:
        sae = PostHocAlignedSAE(
            key["n_latents"], key["k"], max_iter=key["epochs"], random_state=key["seed"]
        ).fit(data.X, data.y, groups=data.groups)
    activations = sae.x_sae_.transform(data.test)
    sure = sae.matches_.query("above_noise")["x_latent"].to_numpy()
    rows = {"all": {}, "matched above noise": {}}
    for method, names in name(sae, data, key["seed"]).items():
        for concepts, kept in (("all", None), ("matched above noise", sure)):
            rows[concepts][method] = judge(names, activations, data, kept)
    return {**seconds, "rows": rows}


def name(sae, data, seed):
    """Names of the concepts by every method."""
    vectors, words = data.vocabulary
    by_captions = functools.partial(name_latents, sae, vectorizer=data.vectorizer)
    names = {
        "terms, captions of images": by_captions(data.X, data.captions, view="x"),
        "terms, texts": by_captions(data.y, data.captions),
        "code": name_latents(sae, vectors, words, method="code"),
        "direction": name_latents(sae, vectors, words, method="direction"),
    }
    if data.one_space:
        names["direction of images"] = name_latents(
            sae, vectors, words, method="direction", view="x"
        )
    order = np.random.default_rng(seed).permutation(len(names["terms, texts"]))
    shuffled = names["terms, texts"].iloc[order]
    names["shuffled"] = shuffled.set_axis(names["terms, texts"].index)
    return names


def judge(names, activations, data, kept):
    """Shares of the named concepts whose name is right, over the held-out images."""
    names = names[names["name"].notna()]
    if kept is not None:
        names = names[names.index.isin(kept)]
    columns = activations[:, names.index.to_numpy()]
    fires = columns.count_nonzero(axis=0) > 1
    names, columns = names[fires], columns[:, np.flatnonzero(fires)].toarray()
    n_labels = data.labels.max() + 1
    totals = np.zeros((n_labels, columns.shape[1]))
    np.add.at(totals, data.labels, columns.astype(np.float64))
    counts = np.bincount(data.labels, minlength=n_labels)
    means = totals / np.maximum(counts, 1)[:, None]
    labels = names["name"].map(data.label_of).to_numpy(dtype=int)
    known = labels < n_labels
    named = np.where(
        known, means[np.minimum(labels, n_labels - 1), range(len(labels))], 0
    )
    rank = (means > named).sum(axis=0)
    rank[named == 0] = max(n_labels, N_BEST)
    confidence = names["confidence"].to_numpy()
    surest = np.argsort(-confidence, kind="stable")[: max(1, len(names) // 4)]
    return {
        "n": len(names),
        "right": per_cent(rank == 0),
        f"among_{N_BEST}": per_cent(rank < N_BEST),
        "right_of_surest_quarter": per_cent(rank[surest] == 0),
        "rank_correlation": rank_correlation(confidence, -rank),
    }


def per_cent(mask):
    """Share of true entries in per cent, NaN of none."""
    return 100 * float(np.mean(mask)) if len(mask) else float("nan")


def rank_correlation(x, y):
    """Spearman's correlation, NaN where one does not vary."""
    if len(x) == 0 or min(np.ptp(x), np.ptp(y)) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y)[0])


def measure(fits):
    """One dict for each set of concepts and method: means over seeds."""
    rows = []
    for concepts, methods in fits[0]["rows"].items():
        for method in methods:
            of_seeds = pd.DataFrame([fit["rows"][concepts][method] for fit in fits])
            row = {"concepts": concepts, "method": method, **of_seeds.mean().to_dict()}
            row["right_error"] = mean_and_error(of_seeds["right"])[1]
            rows.append(row)
    return rows


if __name__ == "__main__":
    main()
