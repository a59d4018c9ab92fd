"""The toy process of the iso-energy paper: Table 5, with both of its experiments.

Does an alignment term find atoms that both views use where there are such atoms, and
does it make them up where there are none?
"""

import functools

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch, with_error
from scipy import sparse

from skxsae import PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_iso_energy_pairs
from skxsae.metrics import (
    dictionary_distance,
    mean_matching_accuracy,
    mean_sample_r2_score,
    stability_score,
)

# of these atoms no sample tells more than a thousandth
FAINT = ("x_term", "y_term")

# experiment 1 violates the assumption and is scored against the unimodal dictionary,
# experiment 2 meets it and is scored against the bimodal one
EXPERIMENTS = {"violated": "2", "holds": "1"}
METHODS = ("none", "iso_energy", "iso_energy_masked", "post_hoc")
COUPLED = ("iso_energy", "iso_energy_masked")

PUBLISHED = {
    ("violated", "none"): {"distance": 0.197, "accuracy": 0.83},
    ("violated", "aligned"): {"distance": 0.185, "accuracy": 0.81},
    ("holds", "none"): {"distance": 0.396, "accuracy": 0.29},
    ("holds", "aligned"): {"distance": 0.184, "accuracy": 0.52},
}


def main(argv=None):
    """Run the fits that were asked for and report them."""
    args = _parse(argv)
    log = FitLog(args.out / "toy_process.jsonl")
    fits = []
    for seed in args.seeds:
        for experiment in args.experiments:
            for key in keys(args, experiment, seed):
                fits.append(log.get_or_run(key, functools.partial(run, key)))
                print(f"{_in_words(key)}: {fits[-1]['seconds']:.0f} s", flush=True)
    measurements = measure(fits)
    tables = {
        "mean of seeds ± standard error": tabulate(measurements),
        "published": pd.DataFrame(PUBLISHED).T.rename_axis(["experiment", "method"]),
    }
    title = f"toy_process: {args.n_unimodal} atoms a view, {len(args.seeds)} seed(s)"
    report(
        args, "toy_process", title, _figures(measurements), tables, measurements, fits
    )


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("--weights", type=float, nargs="+", default=[2e-4], help="of the alignment")
    add("--n-features", type=int, default=256)
    add("--n-unimodal", type=int, default=16, help="atoms k of one view")
    add("--n-active", type=int, default=8)
    add("--tau-2", type=float, default=0.3)
    add("--mix", choices=("sqrt", "linear"), default="sqrt", help="experiment 1")
    add("--samples", type=int, default=8000, help="training pairs")
    add("--test-samples", type=int, default=2000)
    add("-k", type=int, help="active latents; if not given, those of the truth")
    add("--epochs", type=int, default=20)
    add("--batch-size", type=int, default=256)
    add("--learning-rate", type=float, default=3e-3)
    return parser.parse_args(argv)


def keys(args, experiment, seed):
    """All that each fit of one experiment depends on."""
    shared = {
        name: getattr(args, name)
        for name in ("n_features", "n_unimodal", "n_active", "tau_2", "mix", "samples")
        + ("test_samples", "k", "epochs", "batch_size", "learning_rate")
    }
    for method in args.methods:
        for weight in args.weights if method in COUPLED else [0.0]:
            key = {"experiment": experiment, "method": method, "weight": weight}
            yield {**key, **shared, "seed": seed}


def _in_words(key):
    """A key for the log."""
    return (
        f"{key['experiment']} {key['method']} weight {key['weight']:g} "
        f"seed {key['seed']}"
    )


def make_data(key):
    """Pairs of an experiment, and the atoms and codes that are its truth."""
    holds = key["experiment"] == "holds"
    data = make_iso_energy_pairs(
        key["samples"] + key["test_samples"],
        key["n_features"],
        n_unimodal=key["n_unimodal"],
        n_active=key["n_active"],
        tau_1=0.999 if holds else key["tau_2"] + 0.1,
        tau_2=key["tau_2"],
        mix="linear" if holds else key["mix"],
        random_state=key["seed"],
    )
    truth = EXPERIMENTS[key["experiment"]]
    codes = [data[f"{view}_codes_{truth}"] for view in "xy"]
    return data, data[f"features_{truth}"], codes, data[f"kinds_{truth}"]


def run(key):
    """Fit one method and score it, with a row for each way to read the fit."""
    data, features, codes, kinds = make_data(key)
    train, test = slice(key["samples"]), slice(key["samples"], None)
    k = key["k"] or int(np.diff(codes[0].indptr).max())
    with stopwatch() as seconds:
        sae = make_estimator(key, len(features), k).fit(data.X[train], data.y[train])
    truth = _stacked([Z[test] for Z in codes], len(features))
    rows = {
        name: score(data.X[test], data.y[test], *learnt, features, truth, kinds)
        for name, learnt in read(sae, key["method"], data, test).items()
    }
    return {**seconds, "n_latents": len(features), "active": k, "rows": rows}


def make_estimator(key, n_latents, k):
    """The unfitted estimator of a key, with as many atoms as the truth."""
    settings = {
        "activation": "matching_pursuit",
        # the paper's algorithm 1 takes the largest |c|, which leaves the signs of atoms
        # open, and its distance between atoms does not
        "positive_code": True,
        "loss": "mse_mean",
        "normalize": None,
        "fit_intercept": False,
        "aux_weight": 0.0,
        "max_iter": key["epochs"],
        "batch_size": key["batch_size"],
        "learning_rate": key["learning_rate"],
    }
    if key["method"] == "post_hoc":
        x_seed, y_seed = np.random.RandomState(key["seed"]).randint(2**31 - 1, size=2)
        return PostHocAlignedSAE(
            x_sae=TopKSAE(n_latents // 2, k, random_state=int(x_seed), **settings),
            y_sae=TopKSAE(n_latents // 2, k, random_state=int(y_seed), **settings),
            random_state=key["seed"],
        )
    term = {"alignment": key["method"], "statistics": "pooled"}
    if key["method"] in COUPLED:
        term["alignment_weight"] = key["weight"]
    return PairedSAE(n_latents, k, random_state=key["seed"], **term, **settings)


def read(sae, method, data, test):
    """Codes of test pairs and one dictionary, by name of the way to read a fit.

    Post-hoc aligned dictionaries are read as one of both views' atoms, none of which is
    shared, and as one whose matched atoms are merged: the mean of their directions.
    """
    X, y = data.X[test], data.y[test]
    codes = [sparse.csr_array(Z) for Z in sae.transform(X, y)]
    rebuilt = sae.inverse_transform(*codes)
    x_rows, y_rows = sae.x_sae_.components_, sae.y_sae_.components_
    if method != "post_hoc":
        return {method: (codes, x_rows, rebuilt)}
    empty = sparse.csr_array(codes[0].shape)
    apart = [sparse.hstack([codes[0], empty]), sparse.hstack([empty, codes[1]])]
    return {
        "separate": (apart, np.vstack([x_rows, y_rows]), rebuilt),
        "post_hoc": (codes, x_rows + y_rows, rebuilt),
    }


def score(X, y, codes, components, rebuilt, features, truth, kinds):
    """Distance to the true atoms, accuracy of their use, and reconstruction.

    The forms "strong" leave the faint atoms out of the truth.
    """
    learnt = _stacked(codes, len(features))
    strong = ~np.isin(kinds, FAINT)
    return {
        "distance": dictionary_distance(components, features),
        "accuracy": mean_matching_accuracy(learnt, truth),
        "cosine_strong": stability_score(components, features[strong]),
        "accuracy_strong": mean_matching_accuracy(learnt, truth[:, strong]),
        "r2": mean_sample_r2_score(np.vstack([X, y]), np.vstack(rebuilt)),
    }


def _stacked(codes, n_columns):
    """Codes of both views below each other, with absent latents as empty columns."""
    stacked = sparse.csr_array(sparse.vstack(codes, format="csr"))
    n_absent = max(0, n_columns - stacked.shape[1])
    absent = sparse.csr_array((stacked.shape[0], n_absent))
    return sparse.hstack([stacked, absent], format="csr")


def measure(fits):
    """One dict for each experiment, method, weight and metric: its mean over seeds."""
    values = {}
    for fit in fits:
        key = fit["key"]
        for method, row in fit["rows"].items():
            for metric, value in row.items():
                of = key["experiment"], method, key["weight"], metric
                values.setdefault(of, []).append(value)
    measurements = []
    for (experiment, method, weight, metric), of_seeds in values.items():
        mean, error = mean_and_error(of_seeds)
        row = {"experiment": experiment, "method": method, "weight": weight}
        row |= {"metric": metric, "mean": mean, "standard_error": error}
        measurements.append(row | {"of_seeds": of_seeds})
    return measurements


def tabulate(measurements):
    """Table to print: a row for each experiment and method, a column for a metric."""
    frame = pd.DataFrame(measurements)
    frame["cell"] = [with_error(of_seeds) for of_seeds in frame["of_seeds"]]
    index = ["experiment", "method", "weight"]
    wide = frame.pivot(index=index, columns="metric", values="cell")
    return wide[frame["metric"].unique()].rename_axis(columns=None)


def _figures(measurements):
    """Distance and accuracy of each experiment and method, in words."""
    cells = {}
    for row in measurements:
        if row["metric"] in ("distance", "accuracy"):
            name = f"{row['experiment']} {row['method']} {row['weight']:g}"
            cells.setdefault(name, []).append(with_error(row["of_seeds"]))
    parts = [f"{name} {' / '.join(values)}" for name, values in cells.items()]
    return f"distance / accuracy: {'; '.join(parts)}"


if __name__ == "__main__":
    main()
