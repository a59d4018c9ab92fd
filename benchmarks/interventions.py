"""Ways to close the modality gap, on two paired arrays of one joint space.

Tables 9 and 12 of the iso-energy paper: reconstructions of held-out pairs as they are,
after the baselines, and without the latents of a single view, with five measures of the
gap and recall@1. Tables 7 and 8 in a form that any paired arrays allow: the query is a
sample of the native view plus what the other view has of its nearest neighbour, and the
answer that neighbour. Embeddings are scaled to unit length first.
"""

import functools

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch, with_error

from skxsae import PairedSAE
from skxsae.datasets import load_paired_arrays
from skxsae.interventions import (
    ModalityFilter,
    ModalityGapRemover,
    bimodal_reconstruction,
    evaluate_arithmetic,
    group_means,
)
from skxsae.metrics import (
    linear_separability,
    mean_difference_gap,
    modality_gap_report,
    ood_score,
    recall_at_k_score,
    wasserstein_gap,
)

ALIGNMENTS = ("none", "iso_energy", "iso_energy_masked")
REMOVERS = (
    "center",
    "project_means",
    "project_difference",
    "project_coordinates",
    "shift",
    "random_shift",
)
COLUMNS = ("mean_difference", "wasserstein", "separability", "relative_gap", "ood")
CANDIDATES = 256


def main(argv=None):
    """Fit the dictionaries that were asked for and report every intervention."""
    args = _parse(argv)
    data = load_paired_arrays(
        args.x, args.y, groups=args.groups, x_rows=args.x_rows, test=args.test
    )
    log = FitLog(args.out / "interventions.jsonl")
    fits = []
    for seed in args.seeds:
        for alignment in args.alignments:
            key = _key(args, data, alignment, seed)
            fit = log.get_or_run(key, functools.partial(run, key, data))
            fits.append(fit)
            print(f"{alignment} seed {seed}: {fit['seconds']:.0f} s", flush=True)
    title = (
        f"interventions: {args.name}, {args.n_latents} latents, k {args.k}, "
        f"{args.epochs} epochs, {len(args.seeds)} seed(s)"
    )
    measurements = measure(fits)
    tables = tabulate(fits)
    report(args, "interventions", title, _figures(fits), tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--x", required=True, help="first view: file.npy or file.npz:name")
    add("--y", required=True, help="second view, in the same space")
    add("--groups", help="group of each pair, such as the row of a caption's image")
    add("--x-rows", help="row of x of each row of y, where groups do not tell it")
    add("--test", help="mask of the held-out pairs, or of the held-out rows of x")
    add("--name", default="arrays", help="what the data are called in the report")
    add("--alignments", nargs="+", choices=ALIGNMENTS, default=list(ALIGNMENTS[:2]))
    add("--alignment-weight", type=float, default=2e-4, help="the published one")
    add("--loss", default="mse_mean", help="reconstruction loss the weight goes with")
    add("--activation", default="topk")
    add("--n-latents", type=int, default=1024, help="latents of the shared dictionary")
    add("-k", type=int, default=16, help="active latents of a sample")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=1024, help="pairs of a gradient step")
    add("--tau", type=float, nargs="+", default=[0.05], help="least share of energy")
    add("--native", choices=["x", "y"], default="x", help="view of the OOD score")
    add("--neighbor", type=int, default=10, help="which neighbour the OOD score takes")
    add("--coordinates", type=int, default=2, help="that project_coordinates zeroes")
    return parser.parse_args(argv)


def _key(args, data, alignment, seed):
    """All that a fit and its measurements depend on."""
    names = ("x", "y", "groups", "x_rows", "test", "tau", "native", "neighbor")
    names += ("coordinates", "n_latents", "k", "epochs", "batch_size", "loss")
    names += ("activation",)
    weight = args.alignment_weight if alignment != "none" else None
    return {
        "alignment": alignment,
        "alignment_weight": weight,
        "seed": seed,
        **{name: getattr(args, name) for name in names},
        "n_train": len(data.train),
        "n_test": len(data.test),
    }


def run(key, data):
    """Fit one dictionary, and measure every intervention on its reconstructions."""
    train = _pairs(data, data.train)
    with stopwatch() as seconds:
        sae = _paired(key).fit(*train)
    first = np.unique(data.x_rows[data.test], return_index=True)[1]
    rows = data.test[np.sort(first)]  # one pair for each row of x
    test = _pairs(data, rows)
    codes, test_codes = sae.transform(*train), sae.transform(*test)
    filters = [ModalityFilter(tau=tau).fit(*codes) for tau in key["tau"]]
    rebuilt = sae.inverse_transform(*codes), sae.inverse_transform(*test_codes)
    table = {"embeddings": _measures(test, key)}
    for name, views in interventions(key, sae, filters, rebuilt, test_codes):
        table[name] = _measures(views, key)
    native = rebuilt[1]["xy".index(key["native"])]
    return {
        **seconds,
        "rows": table,
        "floor": _floor(_halves(native, key), key),
        "arithmetic": _arithmetic(sae, filters[0], data, rows, key),
        "quality": _quality(sae, filters, test),
    }


def _pairs(data, rows):
    """Both views of some pairs, of unit length."""
    return _unit(data.X[data.x_rows[rows]]), _unit(data.y[rows])


def _unit(rows):
    """Rows of unit length in float32."""
    rows = np.asarray(rows, dtype=np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _paired(key):
    """A dictionary without any constant: reconstructions are codes times atoms."""
    weight = key["alignment_weight"]
    return PairedSAE(
        key["n_latents"],
        k=key["k"],
        alignment=key["alignment"],
        alignment_weight="auto" if key["alignment"] == "none" else weight,
        statistics="pooled",
        normalize="l2",
        fit_intercept=False,
        loss=key["loss"],
        activation=key["activation"],
        max_iter=key["epochs"],
        batch_size=key["batch_size"],
        random_state=key["seed"],
    )


def interventions(key, sae, filters, rebuilt, test_codes):
    """Yield the name of each intervention and both views of the test pairs after it."""
    train, test = rebuilt
    yield "unchanged", test
    for method in REMOVERS:
        remover = ModalityGapRemover(
            method, n_coordinates=key["coordinates"], random_state=key["seed"]
        )
        yield method, remover.fit(*train).transform(*test)
    rng = np.random.default_rng(key["seed"])
    for kept in filters:
        support = kept.support_
        yield f"ours, tau {kept.tau}", bimodal_reconstruction(sae, *test_codes, support)
        # as many latents, whatever view they are of
        yield (
            f"random latents, tau {kept.tau}",
            bimodal_reconstruction(sae, *test_codes, rng.permutation(support)),
        )


def _measures(views, key):
    """The gap between two views, and recall@1 among few candidates and among all."""
    options = {"k": key["neighbor"], "native": key["native"]}
    gap = modality_gap_report(*views, random_state=key["seed"], **options)
    few = min(CANDIDATES, len(views[0]))
    items = np.arange(len(views[0]))  # rows that an intervention makes equal stay apart
    recall = functools.partial(recall_at_k_score, *views, k=1, groups=items)
    return {
        **{name: float(getattr(gap, name)) for name in COLUMNS},
        "recall@1": float(recall(candidates=few)),
        "recall@1 of all": float(recall()),
    }


def _halves(rows, key):
    """Two random halves of the held-out rows of a view, none of them trained on."""
    order = np.random.default_rng(key["seed"]).permutation(len(rows))
    half = len(rows) // 2
    return rows[order[:half]], rows[order[half : 2 * half]]


def _floor(halves, key):
    """What the measures are where there is no gap."""
    return {
        "mean_difference": mean_difference_gap(*halves),
        "wasserstein": wasserstein_gap(*halves),
        "separability": linear_separability(*halves, random_state=key["seed"]),
        "ood": ood_score(halves[1], halves[0], k=key["neighbor"]),
    }


def _arithmetic(sae, kept, data, rows, key):
    """Semantic arithmetic from each sample to its nearest neighbour in its view."""
    views = [_pairs(data, rows)[0], _mean_of_x(data, rows)]
    if key["native"] == "y":
        views[1] = _pairs(data, rows)[1]
    codes = sae.transform(*views)
    full = sae.inverse_transform(*codes)
    bimodal = bimodal_reconstruction(sae, *codes, kept.support_)
    native = "xy".index(key["native"])
    cosines = views[native] @ views[native].T
    np.fill_diagonal(cosines, -np.inf)
    target = cosines.argmax(axis=1)
    n_targets = len(np.unique(target))
    result = evaluate_arithmetic(
        full[native],
        full[1 - native][target],
        full[native][target],
        bimodal_source=bimodal[native],
        bimodal_edit=bimodal[1 - native][target],
        target_groups=target,
        depths=[min(depth, n_targets) for depth in (10, 50)],
        n_neighbors=key["neighbor"],
    )
    frame = result.to_frame()[["recall", "ood"]]
    return {name: row.to_dict() for name, row in frame.iterrows()}


def _mean_of_x(data, rows):
    """Mean of the test rows of y of each row of x, of unit length."""
    test = data.test[np.argsort(data.x_rows[data.test], kind="stable")]
    of_x = data.x_rows[test]
    means = group_means(_unit(data.y[test]), of_x)
    return _unit(means[np.searchsorted(np.unique(of_x), data.x_rows[rows])])


def _quality(sae, filters, test):
    """How well the dictionary fits, and what each filter leaves of it."""
    scores = filters[0].modality_scores_
    return {
        "explained_variance_x": sae.x_sae_.score(test[0]),
        "explained_variance_y": sae.y_sae_.score(test[1]),
        "dead": int(np.isnan(scores).sum()),
        "x_only": int(np.sum(scores > 1 - filters[0].tau)),
        "y_only": int(np.sum(scores < filters[0].tau)),
        **{f"bimodal, tau {f.tau}": int(f.support_.sum()) for f in filters},
    }


def measure(fits):
    """One dict for each dictionary, intervention and measure: mean and its error."""
    measurements = []
    for part in ("rows", "arithmetic"):
        for alignment, name, column, values in _cells(fits, part):
            mean, error = mean_and_error(values)
            measurements.append(
                {
                    "part": part,
                    "alignment": alignment,
                    "row": name,
                    "measure": column,
                    "mean": mean,
                    "seed_error": error,
                }
            )
    return measurements


def _cells(fits, part):
    """Yield dictionary, row, column and the values of all seeds."""
    for alignment in dict.fromkeys(fit["key"]["alignment"] for fit in fits):
        same = [fit[part] for fit in fits if fit["key"]["alignment"] == alignment]
        for name, columns in same[0].items():
            for column in columns:
                yield alignment, name, column, [rows[name][column] for rows in same]


def tabulate(fits):
    """Tables to print: the gap of each dictionary, the arithmetic, and quality."""
    tables = {}
    for part, title in (("rows", "gap and recall"), ("arithmetic", "arithmetic")):
        cells = pd.DataFrame(
            [
                (alignment, name, column, with_error(values))
                for alignment, name, column, values in _cells(fits, part)
            ],
            columns=["alignment", "row", "column", "cell"],
        )
        for alignment, group in cells.groupby("alignment", sort=False):
            wide = group.pivot(index="row", columns="column", values="cell")
            order = {
                "index": group["row"].unique(),
                "columns": group["column"].unique(),
            }
            tables[f"{title}, {alignment}"] = wide.reindex(**order).rename_axis(
                columns=None
            )
    native = fits[0]["key"]["native"]
    for part, title in (("quality", "quality"), ("floor", f"two halves of {native}")):
        frame = pd.DataFrame(
            [{"alignment": fit["key"]["alignment"], **fit[part]} for fit in fits]
        )
        tables[f"{title}, mean of seeds"] = frame.groupby(
            "alignment", sort=False
        ).mean()
    return tables


def _figures(fits):
    """What filtering does to the gap, in a few words."""
    parts = []
    ours = f"ours, tau {fits[0]['key']['tau'][0]}"
    for alignment in dict.fromkeys(fit["key"]["alignment"] for fit in fits):
        rows = [fit["rows"] for fit in fits if fit["key"]["alignment"] == alignment]
        words = [
            f"{column} {np.mean([row['unchanged'][column] for row in rows]):.3f} to "
            f"{np.mean([row[ours][column] for row in rows]):.3f}"
            for column in ("mean_difference", "wasserstein", "ood", "recall@1")
        ]
        parts.append(f"{alignment}: {', '.join(words)}")
    return "without unimodal latents " + "; ".join(parts)


if __name__ == "__main__":
    main()
