"""Tables 1 and 3 of the iso-energy paper, on paired arrays of one joint space.

Shared dictionaries of five activations, and by matching pursuit with the alignment
term, by every measure of the paper on held-out pairs: reconstruction, attribution,
stability between seeds, structure of directions and codes, and what carries the
alignment of the views. Further rows judge three findings of the paper: whether bridges
tie concepts that are split between the views, whether bimodal concepts carry the
alignment, and whether frequent concepts are the stable ones.
"""

import functools
import hashlib
import json
from itertools import combinations

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, mean_and_error, report, stopwatch
from _pairs import Pairs, load_pairs
from _published import ISO_METHODS, read_iso_tables
from scipy import sparse

from skxsae import PairedSAE
from skxsae.metrics import (
    attribution_curves,
    bimodal_latents,
    bridge_edges,
    bridge_matrix,
    coactivation_matrix,
    code_report,
    dictionary_report,
    energy,
    energy_shares,
    firing_rate,
    functional_alignment_ratio,
    functional_distributional_agreement,
    mean_sample_r2_score,
    mean_squared_reconstruction_error,
    modality_score,
    probing_accuracy,
    recall_drop_at_k,
    stability_chance,
    stability_curve,
    stability_score,
    transport_plan,
)

EXPANSION = 8
TAU = 0.05
CANDIDATES = 256  # the paper retrieves inside batches of so many pairs
N_BRIDGES = 100
# selective latents fire in at most so many samples of their view
MAX_RATE = 0.5
# shares of the energy rank that stability is told for
COMMON, RARE = 0.1, 0.5
ACTIVATION = {"sae": "matching_pursuit", "sae_a": "matching_pursuit"}


def main(argv=None):
    """Run the methods that were asked for and report them."""
    args = _parse(argv)
    train, test = load_pairs(args.train, args.train_groups, args.test)
    if test is None:
        test, _ = load_pairs(args.pairs, args.pairs_groups)
    log = FitLog(args.out / "iso_energy.jsonl")
    fits = []
    parts = diets(train, len(args.seeds)) if args.diets else [train] * len(args.seeds)
    for seed, part in zip(args.seeds, parts, strict=True):
        for method in args.methods:
            key = _key(args, part, test, method, seed)
            run_it = functools.partial(run, key, part, test, args.out)
            fits.append(log.get_or_run(key, run_it))
            print(f"{method} seed {seed}: {fits[-1]['seconds']:.0f} s", flush=True)
    rows = measure(fits, stability(args, fits), args.name)
    title = (
        f"iso-energy: {args.name}, {fits[0]['key']['n_latents']} latents, k {args.k}, "
        f"{args.epochs} epochs, weight {args.alignment_weight:g}, "
        f"{len(args.seeds)} seed(s)" + (" on data of their own" if args.diets else "")
    )
    report(args, "iso_energy", title, _figures(rows), tabulate(rows), rows, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0, 1])
    add = parser.add_argument
    folder = "two arrays, or a folder with img_emb and text_emb"
    add("--train", nargs="+", required=True, help=f"training pairs: {folder}")
    add("--train-groups", help="group of each pair, such as its image; or a column")
    add("--test", help="mask of the training pairs that are held out, to measure on")
    add("--pairs", nargs="+", help="pairs to measure on instead")
    add("--pairs-groups", help="group of each of them")
    add("--name", default="CLIP", help="embedding of Table 1 to compare with")
    add("--methods", nargs="+", choices=ISO_METHODS, default=ISO_METHODS)
    add("-k", type=int, default=20, help="active latents of a sample")
    add("--n-latents", type=int, help="by default eight for each feature")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=1024, help="pairs of a gradient step")
    weight = "of the cosine, against the mean squared error of an entry of both views"
    add("--alignment-weight", type=float, default=1e-4, help=weight)
    own = "train each seed on groups of its own, as many as the others have"
    add("--diets", action="store_true", help=own)
    add("--mask-top-1", action="store_true", help="the form that was released")
    add("--positive-code", action="store_true", help="pursuit without negative codes")
    add("--normalize", default="none", help="none, as in the paper, center or scale")
    args = parser.parse_args(argv)
    if (args.test is None) == (args.pairs is None):
        parser.error("give --test or --pairs to measure on, and not both.")
    return args


def _key(args, train, test, method, seed):
    """All that a fit and its figures depend on."""
    names = ("train", "train_groups", "test", "pairs", "pairs_groups")
    names += ("k", "epochs", "batch_size", "normalize")
    key = {name: getattr(args, name) for name in names}
    if args.diets:
        key["diet"] = [args.seeds.index(seed), len(args.seeds)]
    if method in ACTIVATION and args.positive_code:
        key["positive_code"] = True
    if method == "sae_a":
        key["alignment_weight"] = args.alignment_weight
        key["mask_top_1"] = args.mask_top_1
    return key | {
        "method": method,
        "seed": seed,
        "n_latents": args.n_latents or EXPANSION * train.X.shape[1],
        "n_train": len(train.y),
        "n_test": len(test.y),
    }


def diets(train, n_parts):
    """The training pairs in parts that share no group, of about as many groups."""
    groups, group_of = np.unique(train.groups, return_inverse=True)
    part_of = np.random.default_rng(0).permutation(len(groups)) % n_parts
    rows = [np.flatnonzero(part_of[group_of] == part) for part in range(n_parts)]
    return [Pairs(*(column[of_part] for column in train)) for of_part in rows]


def run(key, train, test, folder):
    """Fit one dictionary, measure it and keep its directions."""
    with stopwatch() as seconds:
        sae = make(key, train).fit(train.X, train.y)
    directions = in_input_units(sae.x_sae_)[0]
    codes = sae.transform(train.X, train.y)
    energies = (energy(codes[0]) + energy(codes[1])) / 2
    np.savez(_path(folder, key), components=directions, energies=energies)
    return {**seconds, "row": evaluate(sae, test, train_codes=codes, seed=key["seed"])}


def _path(folder, key):
    """File of the directions of a fit."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / f"iso_energy-{key['method']}-{key['seed']}-{digest[:12]}.npz"


def make(key, train):
    """One dictionary for both views."""
    options = {"alignment": "none"}
    if key["method"] == "sae_a":
        form = "iso_energy_masked" if key["mask_top_1"] else "iso_energy"
        weight = as_fvu_weight(key["alignment_weight"], train)
        options = {"alignment": form, "alignment_weight": weight}
    return PairedSAE(
        key["n_latents"],
        k=key["k"],
        activation=ACTIVATION.get(key["method"], key["method"]),
        positive_code=key.get("positive_code", False),
        statistics="pooled",
        normalize=None if key["normalize"] == "none" else key["normalize"],
        fit_intercept=key["normalize"] != "none",
        max_iter=key["epochs"],
        batch_size=key["batch_size"],
        random_state=key["seed"],
        **options,
    )


def as_fvu_weight(weight, train):
    """A weight against the mean of squared errors, as one against the sum of two FVUs.

    The mean is over the rows and features of both views together.
    """
    variances = [np.var(view, axis=0, dtype=np.float64).sum() for view in train[:2]]
    return weight * 2 * train.X.shape[1] / np.mean(variances)


def in_input_units(view):
    """Directions with their length, and what an empty code is decoded as."""
    intercept = view.inverse_transform(np.zeros((1, view.n_latents_), np.float32))
    return view.components_ * view.scale_, np.ravel(intercept).astype(np.float64)


def evaluate(sae, test, train_codes, seed):
    """Every measure of Table 3 on held-out pairs but the stability."""
    codes = sae.transform(test.X, test.y)
    directions, intercept = in_input_units(sae.x_sae_)
    X, Z = np.vstack(test[:2]).astype(np.float32), sparse.vstack(codes, format="csr")
    rebuilt = sae.x_sae_.inverse_transform(Z)
    curves = attribution_curves(X, Z, directions, intercept=intercept)
    energies = energy(Z)
    structure = dictionary_report(directions, energies)
    of_codes = code_report(Z, directions)
    return {
        "mse": mean_squared_reconstruction_error(X, rebuilt),
        "r2": mean_sample_r2_score(X, rebuilt),
        "l0": of_codes.mean_l0,
        "l1": of_codes.mean_l1,
        "insertion": curves.insertion_score,
        "deletion": curves.deletion_score,
        "stable_rank": structure.stable_rank,
        "effective_rank": structure.effective_rank,
        "weighted_stable_rank": structure.weighted_stable_rank,
        "weighted_effective_rank": structure.weighted_effective_rank,
        "coherence": structure.coherence,
        "code_stable_rank": of_codes.stable_rank,
        "code_effective_rank": of_codes.effective_rank,
        "connectivity": of_codes.connectivity,
        "negative_interference": of_codes.negative_interference,
        **modality(sae, test, codes, directions, seed),
        "dead_share": of_codes.dead_share,
        **split_concepts(train_codes, codes, directions),
        **_renamed(split_concepts(train_codes, codes, directions, MAX_RATE)),
    }


def _renamed(row):
    """Figures of selective latents under names of their own."""
    return {f"selective_{name}": value for name, value in row.items()}


def modality(sae, test, codes, directions, seed):
    """What carries the alignment of the views."""
    x_energy, y_energy = map(energy, codes)
    scores = modality_score(*codes)
    bimodal = bimodal_latents(scores, tau=TAU)
    energies = (x_energy + y_energy) / 2
    bridge = bridge_matrix(coactivation_matrix(*codes), directions)
    plan = transport_plan(directions, None, x_energy, y_energy).plan
    moved = bridge_matrix(plan, directions)
    probes = probing_accuracy(
        test.X, test.y, directions, scores, energies, tau=TAU, random_state=seed
    )
    return {
        "rho": functional_alignment_ratio(bridge, bimodal),
        "delta_r@1": drop(sae, test, codes, bimodal),
        "fda": functional_distributional_agreement(moved, bimodal, energies),
        "p_acc": probes.score,
        "bimodal_energy": energy_shares(x_energy, y_energy, tau=TAU).bimodal,
        "bimodal_latents": float(bimodal.sum()),
    }


def drop(sae, test, codes, bimodal):
    """Recall@1 that is lost without the latents of one view, one pair of each group."""
    rows = np.unique(test.groups, return_index=True)[1]
    views = sae.x_sae_, sae.y_sae_
    full, kept = (
        [
            view.inverse_transform(only(Z[rows], mask))
            for view, Z in zip(views, codes, strict=True)
        ]
        for mask in (np.ones_like(bimodal), bimodal)
    )
    candidates = min(CANDIDATES, len(rows))
    return recall_drop_at_k(*full, *kept, k=1, candidates=candidates)


def only(Z, mask):
    """Codes with other latents than those of a mask set to zero."""
    return sparse.csr_array(Z.multiply(mask.astype(Z.dtype)))


def split_concepts(train_codes, codes, directions, max_rate=1.0):
    """How well bridges predict which latents of the two views fire together.

    The strongest bridges between a latent of x alone and one of y alone are found on
    training pairs; the mean correlation of the two over held-out pairs is told beside
    that of all other pairings of the same latents: what pairing at random gives. A
    latent that is always on has strong bridges to whatever fires, which `max_rate` of
    the samples of its view leaves out.
    """
    scores = modality_score(*train_codes)
    with np.errstate(invalid="ignore"):
        x_only, y_only = scores > 1 - TAU, scores < TAU
    x_only &= firing_rate(train_codes[0]) <= max_rate
    y_only &= firing_rate(train_codes[1]) <= max_rate
    weights = coactivation_matrix(
        only(train_codes[0], x_only), only(train_codes[1], y_only)
    )
    edges = bridge_edges(bridge_matrix(weights, directions), N_BRIDGES)
    if len(edges) < 2:
        return {"bridged_correlation": np.nan, "chance_correlation": np.nan}
    latents = edges["x_latent"].to_numpy(), edges["y_latent"].to_numpy()
    columns = (Z[:, of].toarray() for Z, of in zip(codes, latents, strict=True))
    correlations = _correlations(*columns)
    pairs = latents[0][:, None] * codes[1].shape[1] + latents[1]  # one number a pair
    return {
        "bridged_correlation": _mean(np.diag(correlations)),
        "chance_correlation": _mean(correlations[~np.isin(pairs, np.diag(pairs))]),
    }


def _correlations(A, B):
    """Pearson correlation of each column with each, NaN for constant ones."""
    A, B = (np.asarray(Z, np.float64) - Z.mean(axis=0) for Z in (A, B))
    norms = np.outer(np.linalg.norm(A, axis=0), np.linalg.norm(B, axis=0))
    return np.divide(A.T @ B, norms, out=np.full(norms.shape, np.nan), where=norms > 0)


def _mean(values):
    """Mean of what is not NaN, NaN if nothing is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def stability(args, fits):
    """Dict of method: agreement of the directions of each two seeds, and chance."""
    by_method = {}
    for fit in fits:
        with np.load(_path(args.out, fit["key"])) as file:
            arrays = file["components"], file["energies"]
        by_method.setdefault(fit["key"]["method"], []).append(arrays)
    return {
        method: [
            {
                "stability": stability_score(D, other, form="angle"),
                "stability_chance": stability_chance(
                    D, other, form="angle", random_state=0
                ),
                **_of_ranks(
                    stability_curve(
                        D, other, e, other_energies=f, null="moments", random_state=0
                    )
                ),
            }
            for (D, e), (other, f) in combinations(of_seeds, 2)
        ]
        for method, of_seeds in by_method.items()
    }


def _of_ranks(curve):
    """Mean cosine of the pairs with most energy and of those with least, and chance."""
    n_common, n_rare = (max(1, round(s * len(curve))) for s in (COMMON, RARE))
    row = {}
    for column, suffix in (("mean", ""), ("chance", "_chance")):
        sums = curve[column].to_numpy() * curve.index
        row[f"cosine_common{suffix}"] = float(sums[n_common - 1] / n_common)
        before = sums[-n_rare - 1] if n_rare < len(curve) else 0.0
        row[f"cosine_rare{suffix}"] = float((sums[-1] - before) / n_rare)
    return row


def measure(fits, stabilities, name):
    """One dict for each method and metric: ours, and the published figure if any."""
    published = read_iso_tables(name)
    values = {}
    for fit in fits:
        for metric, value in fit["row"].items():
            values.setdefault((fit["key"]["method"], metric), []).append(value)
    for method, pairs in stabilities.items():
        for of_pair in pairs:
            for metric, value in of_pair.items():
                values.setdefault((method, metric), []).append(value)
    rows = []
    for (method, metric), of_seeds in values.items():
        with np.errstate(invalid="ignore"):  # a ratio can be infinite
            mean, error = mean_and_error(of_seeds)
        row = {"method": method, "metric": metric, "mean": mean}
        row |= {"standard_error": error, "of_seeds": of_seeds}
        if (method, metric) in published:
            row["published"] = published[method, metric]
            row["difference"] = mean - row["published"]
        rows.append(row)
    return rows


def tabulate(rows):
    """Tables to print: ours, and the published beside it, a column for each method."""
    frame = pd.DataFrame(rows)
    tables = {"ours, mean of seeds": _wide(frame, "mean")}
    if "published" in frame:
        known = frame.dropna(subset="published")
        tables["published"] = _wide(known, "published")
    return tables


def _wide(frame, values):
    """A row for each metric and a column for each method."""
    wide = frame.pivot(index="metric", columns="method", values=values)
    order = frame["metric"].unique(), frame["method"].unique()
    wide = wide.reindex(index=order[0], columns=order[1]).rename_axis(columns=None)
    return wide.map("{:.3g}".format)  # from thousandths to hundreds


def _figures(rows):
    """What carries the alignment, in a few words."""
    shown = ("rho", "delta_r@1", "fda", "p_acc")
    cells = {(row["method"], row["metric"]): row["mean"] for row in rows}
    parts = [
        f"{method} " + " / ".join(f"{cells[method, name]:.2f}" for name in shown)
        for method in dict.fromkeys(row["method"] for row in rows)
    ]
    return f"{' / '.join(shown)}: {'; '.join(parts)}"


if __name__ == "__main__":
    main()
