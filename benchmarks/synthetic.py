"""Recovery and alignment errors of every method on pairs with known truth.

Figures 5 and 6 of the heterogeneity paper in table form: shared against separate
dictionaries over the cosine of corresponding directions, and the alignment terms over
their weight against post-hoc alignment.
"""

import functools

import numpy as np
import pandas as pd
from _common import (
    FitLog,
    make_parser,
    mean_and_error,
    own_order,
    report,
    stopwatch,
    with_error,
)
from scipy import sparse

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.datasets import PAIRED_FEATURES_PRESETS, make_paired_features
from skxsae.inspection import AlphaSweepDisplay, TradeoffDisplay
from skxsae.metrics import (
    bridge_matrix,
    coactivation_matrix,
    feature_alignment_error,
    feature_collapse_rate,
    feature_recovery_error,
    keep_top_k,
    latent_alignment_error,
    reconstruction_error,
)

# heterogeneity paper, appendix D.2; the shared dictionary has twice n_latents
_PAPER = {
    "data": "paper",
    "n_train": 50_000,
    "n_test": 10_000,
    "n_latents": 4096,
    "k": 16,
    "batch_size": 256,
    "max_iter": 10,
}
_SMALL_CONCEPTS = {
    "n_features": 64,
    "n_shared": 128,
    "n_x_only": 64,
    "n_y_only": 64,
    "sparsity": 0.95,
    "max_interference": 0.5,
}
PRESETS = {
    "paper": _PAPER,
    "released": {**_PAPER, "data": "released"},
    # a minute, to see that everything runs: no reference belongs to it
    "small": {
        **_PAPER,
        "data": "released",
        "n_train": 5000,
        "n_test": 1000,
        "n_latents": 256,
        "concepts": _SMALL_CONCEPTS,
    },
    # fewer concepts than the paper's, seen in as many steps: a sweep in some minutes
    "medium": {
        **_PAPER,
        "data": "released",
        "n_latents": 256,
        "concepts": _SMALL_CONCEPTS,
    },
}

# published weights against the sum of the two views' FVU
PAIRED_METHODS = {
    "shared": {"alignment": "none", "statistics": "pooled"},
    "iso_energy": {
        "alignment": "iso_energy_masked",
        "alignment_weight": 0.03,
        "statistics": "pooled",
    },
    "group_sparse": {"alignment": "group_sparse", "alignment_weight": 0.05},
}
METHODS = [*PAIRED_METHODS, "post_hoc"]
WEIGHTED = ("iso_energy", "group_sparse")

FIGURES = {
    5: {"alphas": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], "methods": ["shared", "post_hoc"]},
    6: {"multipliers": [1 / 64, 1 / 4, 1.0, 4.0, 64.0], "methods": METHODS},
}

# what the pictures call methods and metrics, in the order of the paper's figures
METHOD_NAMES = {
    "shared": "one dictionary",
    "iso_energy": "iso-energy loss",
    "group_sparse": "group-sparse loss",
    "separate": "separate dictionaries",
    "post_hoc": "post-hoc alignment",
}
METRIC_NAMES = {
    "feature_collapse": "Feature collapse rate",
    "reconstruction_error": "Reconstruction error",
    "feature_recovery": "Feature recovery error",
    "feature_recovery_k1": "Feature recovery error (k = 1)",
    "latent_alignment": "Latent alignment error",
    "feature_alignment": "Feature alignment error",
}

# measured for the paper's released code, one seed, preset "released", alpha 0.5,
# multiplier 1; what it does not tell is left out
REFERENCE_SOURCE = "released code of the heterogeneity paper, one seed"
REFERENCE = {
    "separate": {"fvu": 0.150, "feature_recovery_k1": 0.094, "feature_collapse": 0.0},
    "post_hoc": {
        "fvu": 0.150,
        "feature_recovery_k1": 0.094,
        "feature_alignment": 0.116,
        "latent_alignment": 0.803,
        "feature_collapse": 0.0,
    },
    "shared": {
        "fvu": 0.180,
        "feature_recovery_k1": 0.140,
        "feature_alignment": 0.545,
        "latent_alignment": 0.953,
        "feature_collapse": 0.038,
    },
    "iso_energy": {
        "fvu": 0.181,
        "feature_recovery_k1": 0.142,
        "feature_alignment": 0.532,
        "latent_alignment": 0.949,
        "feature_collapse": 0.058,
    },
}


def main(argv=None):
    """Run the fits that were asked for and report them."""
    args = _parse(argv)
    log = FitLog(args.out / "synthetic.jsonl")
    fits = []
    for seed in args.seeds:
        for alpha in args.alphas:
            data = functools.cache(
                functools.partial(make_data, args.preset, alpha, seed)
            )
            for key in keys(args, alpha, seed):
                fits.append(log.get_or_run(key, functools.partial(run, key, data)))
                print(f"{_in_words(key)}: {fits[-1]['seconds']:.0f} s", flush=True)
    measurements = measure(fits)
    tables = {"mean of seeds ± standard error": tabulate(measurements)}
    compared = compare(measurements) if args.preset == "released" else []
    if compared:
        tables[f"beside the {REFERENCE_SOURCE}"] = pd.DataFrame(compared).set_index(
            ["method", "metric"]
        )
    title = f"synthetic: preset {args.preset}, {len(args.seeds)} seed(s)"
    figures = _figures(measurements)
    report(args, "synthetic", title, figures, tables, measurements + compared, fits)
    if args.picture:
        for path in draw(args.out, measurements):
            print(path)


def _parse(argv):
    """Arguments of the command line, a figure filling in what it sweeps."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="released")
    add("--figure", type=int, choices=FIGURES, help="sweep of a figure of the paper")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("--alphas", type=float, nargs="+", default=[0.5])
    add("--multipliers", type=float, nargs="+", default=[1.0])
    add("--picture", action="store_true", help="write what was swept as PNG files too")
    figure = parser.parse_args(argv).figure
    parser.set_defaults(**FIGURES.get(figure, {}))
    return parser.parse_args(argv)


def keys(args, alpha, seed):
    """All that each fit on one data set depends on."""
    for method in args.methods:
        for multiplier in args.multipliers if method in WEIGHTED else [1.0]:
            yield {
                "preset": args.preset,
                "method": method,
                "alpha": alpha,
                "multiplier": multiplier,
                "seed": seed,
            }


def _in_words(key):
    """A key for the log."""
    return (
        f"{key['method']} alpha {key['alpha']:g} multiplier {key['multiplier']:g} "
        f"seed {key['seed']}"
    )


def make_data(preset, alpha, seed):
    """Training and test pairs of one preset, with their truth."""
    settings = PRESETS[preset]
    concepts = {
        **PAIRED_FEATURES_PRESETS[settings["data"]],
        **settings.get("concepts", {}),
    }
    return make_paired_features(
        settings["n_train"] + settings["n_test"],
        alignment=alpha,
        random_state=seed,
        **concepts,
    )


def run(key, make):
    """Fit one method and measure it, with a row for each way to read the fit."""
    data = make()
    n_train = PRESETS[key["preset"]]["n_train"]
    with stopwatch() as seconds:
        sae = make_estimator(key).fit(data.X[:n_train], data.y[:n_train])
    rows = {key["method"]: evaluate(sae, data, n_train)}
    if key["method"] == "post_hoc":
        rows["separate"] = {
            **rows["post_hoc"],
            **alignment_errors(sae, data, n_train, functools.partial(own_order, sae)),
        }
        soft = CoactivationMatcher(assignment="soft", random_state=key["seed"])
        sae.set_params(matcher=soft).realign(data.X[:n_train], data.y[:n_train])
        rows["soft"] = {**rows["post_hoc"], **alignment_errors(sae, data, n_train)}
        # the strongest latent of a soft code is one of the other view
        rows["soft"]["feature_alignment_k1"] = float("nan")
        sae.set_params(matcher=None)
        for algorithm in ("mp", "omp"):  # the same dictionaries without their encoders
            for view in (sae.x_sae_, sae.y_sae_):
                view.set_params(transform_algorithm=algorithm)
            sae.realign(data.X[:n_train], data.y[:n_train])
            rows[algorithm] = evaluate(sae, data, n_train)
    return {**seconds, "rows": rows}


def make_estimator(key):
    """The unfitted estimator of a key: equal parameters and budget for every method."""
    preset, method, seed = PRESETS[key["preset"]], key["method"], key["seed"]
    settings = {name: preset[name] for name in ("k", "batch_size", "max_iter")}
    # appendix D.3 writes the autoencoder without biases on the input
    settings |= {"fit_intercept": False, "normalize": None}
    settings |= {"schedule": "constant", "aux_weight": 0.0}
    if method == "post_hoc":
        x_seed, y_seed = np.random.RandomState(seed).randint(2**31 - 1, size=2)
        return PostHocAlignedSAE(
            x_sae=TopKSAE(preset["n_latents"], random_state=int(x_seed), **settings),
            y_sae=TopKSAE(preset["n_latents"], random_state=int(y_seed), **settings),
            random_state=seed,
        )
    options = dict(PAIRED_METHODS[method])
    if "alignment_weight" in options:
        options["alignment_weight"] *= key["multiplier"]
    return PairedSAE(2 * preset["n_latents"], random_state=seed, **options, **settings)


def evaluate(sae, data, n_train):
    """All metrics of appendix D.3, and both forms of those with a choice of k."""
    X, y = data.X[n_train:], data.y[n_train:]
    rebuilt = sae.inverse_transform(*sae.transform(X, y))
    phi, psi = data.x_features[data.shared], data.y_features[data.shared]
    codes = sae.transform(phi, psi)
    top = [keep_top_k(Z, 1) for Z in codes]
    phi_hat, psi_hat = sae.inverse_transform(*codes)
    phi_top, psi_top = sae.inverse_transform(*top)
    components = own_components(sae)
    return {
        "reconstruction_error": reconstruction_error(X, rebuilt[0], y, rebuilt[1]),
        "fvu": 1 - sae.score(X, y),
        "feature_recovery": feature_recovery_error(phi, phi_hat, psi, psi_hat),
        "feature_recovery_k1": feature_recovery_error(phi, phi_top, psi, psi_top),
        "feature_collapse": feature_collapse_rate(*components, phi, psi),
        **alignment_errors(sae, data, n_train),
        **(split_concepts(sae, data, n_train) if isinstance(sae, PairedSAE) else {}),
    }


def split_concepts(sae, data, n_train):
    """How often the strongest bridge of a latent leads to the other half of a concept.

    Over the concepts that have a latent for each view, as those that are nearest to the
    two true directions; bridges are of held-out pairs.
    """
    directions = sae.x_sae_.components_
    truth = data.x_features[data.shared], data.y_features[data.shared]
    x_latents, y_latents = (_nearest(directions, features) for features in truth)
    split = x_latents != y_latents
    if not split.any():
        return {"bridged": np.nan}
    weights = coactivation_matrix(*sae.transform(data.X[n_train:], data.y[n_train:]))
    bridge = sparse.csr_array(bridge_matrix(weights, directions))
    strongest = bridge[x_latents[split]].toarray().argmax(axis=1)
    return {"bridged": float(np.mean(strongest == y_latents[split]))}


def _nearest(directions, features):
    """Latent whose direction has the largest cosine with each true one."""
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / np.maximum(lengths, np.finfo(directions.dtype).tiny)
    return np.argmax(features @ directions.T, axis=1)


def alignment_errors(sae, data, n_train, order=lambda *codes: codes):
    """Alignment of the codes of test pairs and of the true directions."""
    phi, psi = data.x_features[data.shared], data.y_features[data.shared]
    codes = order(*sae.transform(data.X[n_train:], data.y[n_train:]))
    features = order(*sae.transform(phi, psi))
    top = [keep_top_k(Z, 1) for Z in features]
    return {
        "latent_alignment": latent_alignment_error(*codes),
        "feature_alignment": feature_alignment_error(*features),
        "feature_alignment_k1": feature_alignment_error(*top),
    }


def own_components(sae):
    """Both dictionaries as they were trained, before any permutation."""
    components = sae.x_sae_.components_, sae.y_sae_.components_
    if isinstance(sae, PairedSAE):
        return components
    return tuple(rows.T for rows in own_order(sae, *(rows.T for rows in components)))


def measure(fits):
    """One dict for each method, alpha, multiplier and metric: its mean over seeds."""
    values = {}
    for fit in fits:
        setting = fit["key"]["alpha"], fit["key"]["multiplier"]
        for method, row in fit["rows"].items():
            for metric, value in row.items():
                values.setdefault((method, *setting, metric), []).append(value)
    measurements = []
    for (method, alpha, multiplier, metric), of_seeds in values.items():
        mean, error = mean_and_error(of_seeds)
        row = {"method": method, "alpha": alpha, "multiplier": multiplier}
        row |= {"metric": metric, "mean": mean, "standard_error": error}
        measurements.append(row | {"of_seeds": of_seeds})
    return measurements


def compare(measurements):
    """Ours beside the reference, for every figure that the reference tells."""
    rows = []
    for row in measurements:
        reference = REFERENCE.get(row["method"], {}).get(row["metric"])
        if reference is None or (row["alpha"], row["multiplier"]) != (0.5, 1.0):
            continue
        worse = row["mean"] - reference
        rows.append(
            {
                "method": row["method"],
                "metric": row["metric"],
                "reference": reference,
                "ours": row["mean"],
                "standard_error": row["standard_error"],
                "worse_by": worse,
                # every metric is an error, so lower is better
                "within_two_errors": bool(worse <= 2 * row["standard_error"]),
            }
        )
    return rows


def tabulate(measurements):
    """Table to print: a row for each method and setting, a column for each metric."""
    frame = pd.DataFrame(measurements)
    frame["cell"] = [with_error(of_seeds) for of_seeds in frame["of_seeds"]]
    index = ["alpha", "method", "multiplier"]
    wide = frame.pivot(index=index, columns="metric", values="cell")
    return wide[frame["metric"].unique()].rename_axis(columns=None)


def draw(folder, measurements):
    """Write a picture of each setting that was swept; return their paths."""
    frame = pd.DataFrame(measurements)
    frame = frame[frame["method"].isin(METHOD_NAMES)]
    frame = frame[frame["metric"].isin(METRIC_NAMES)].replace(
        {"method": METHOD_NAMES, "metric": METRIC_NAMES}
    )
    paths = []
    if frame["alpha"].nunique() > 1:
        display = AlphaSweepDisplay(
            frame[frame["multiplier"] == 1.0],
            metrics=list(METRIC_NAMES.values())[:3],
            methods=_named(frame["method"]),
        )
        paths.append(_save(display.plot(), folder / "synthetic_alpha.png"))
    for alpha, rows in frame.groupby("alpha"):
        if rows["multiplier"].nunique() == 1:
            continue
        display = TradeoffDisplay(
            rows,
            reconstruction=METRIC_NAMES["feature_recovery"],
            alignment=list(METRIC_NAMES.values())[-2:],
            methods=_named(rows["method"]),
        )
        for kind in ("plane", "panels"):
            path = folder / f"synthetic_weight_{kind}_alpha_{alpha:g}.png"
            paths.append(_save(display.plot(kind=kind), path))
    return paths


def _named(methods):
    """Methods that were measured, in the order of the figures."""
    return [name for name in METHOD_NAMES.values() if name in set(methods)]


def _save(display, path):
    """Write the figure of a display, and return the path."""
    display.figure_.savefig(path, dpi=150)
    return path


def _figures(measurements):
    """Five metrics of each method at the setting closest to the default, in words."""
    shown = (
        "fvu",
        "feature_recovery_k1",
        "feature_alignment",
        "latent_alignment",
        "feature_collapse",
    )
    cells = {}
    for row in measurements:
        if (row["alpha"], row["multiplier"]) == (0.5, 1.0) and row["metric"] in shown:
            cells.setdefault(row["method"], {})[row["metric"]] = row["of_seeds"]
    parts = [
        f"{method} " + " / ".join(with_error(of_metric[name]) for name in shown)
        for method, of_metric in cells.items()
    ]
    if not parts:
        return "sweep, see the JSON"
    return f"{' / '.join(shown)}: {'; '.join(parts)}"


if __name__ == "__main__":
    main()
