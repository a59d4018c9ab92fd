"""Time and memory of the metrics of what two views share, each in its own process.

Codes have `k` active latents a row, drawn at random, half of them the same in both
views: no skew, so that nearly all pairs of latents are active together somewhere, which
is the most that a bridge matrix can store. Dictionaries and embeddings are normal.
Memory is the peak of the process, and of it what lies above the inputs. Exact transport
is measured at several numbers of latents, to say where its limit is.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, report, status_mib, stopwatch
from scipy import sparse

from skxsae import metrics

SIZES = ("samples", "latents", "features", "k")
TRANSPORT = "transport_plan"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(argv=None):
    """Measure every metric and report it."""
    args = _parse(argv)
    if args.measure:
        print(json.dumps(measure(json.loads(args.measure))))
        return
    log = FitLog(args.out / "modality.jsonl")
    sizes = {name: getattr(args, name) for name in SIZES}
    keys = [
        {"metric": name, "seed": seed, **sizes, "threads": args.threads}
        for seed in args.seeds
        for name in args.metrics
    ] + [
        {"metric": TRANSPORT, "seed": seed, "latents": n, "features": args.features}
        | {"threads": args.threads}
        for seed in args.seeds
        for n in args.transport_latents
    ]
    fits = [log.get_or_run(key, functools.partial(run, key)) for key in keys]
    rows = [{**fit["key"], **fit["cost"]} for fit in fits]
    table = pd.DataFrame(rows)
    slowest = table[table["metric"] != TRANSPORT].max(numeric_only=True)
    title = f"modality: {args.samples} pairs, {args.latents} latents, k {args.k}"
    figures = ""
    if args.metrics:
        figures = f"at most {slowest['seconds']:.1f} s, {slowest['peak_mib']:.0f} MiB; "
    figures += "; ".join(
        f"transport of {row.latents} {row.seconds:.1f} s, {row.peak_mib:.0f} MiB"
        for row in table[table["metric"] == TRANSPORT].itertuples()
    )
    shown = table.drop(columns=["seed", *SIZES, "threads"], errors="ignore")
    shown.insert(1, "latents", table["latents"])
    report(args, "modality", title, figures, {"metrics": shown}, rows, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0])
    add = parser.add_argument
    add("--samples", type=int, default=200_000)
    add("--latents", type=int, default=8192)
    add("--features", type=int, default=512)
    add("-k", type=int, default=32, help="active latents of a sample")
    add("--threads", type=int, default=2)
    add("--metrics", nargs="*", choices=list(METRICS), default=list(METRICS))
    add("--transport-latents", type=int, nargs="*", default=[1024, 2048, 4096, 8192])
    add("--measure", help="a key: measure it in this process and print the cost")
    return parser.parse_args(argv)


def run(key):
    """Cost of one metric, measured in a process of its own."""
    command = [sys.executable, __file__, "--out", "-", "--measure", json.dumps(key)]
    threads = dict.fromkeys(THREADS, str(key["threads"]))
    done = subprocess.run(
        command, env=os.environ | threads, check=True, stdout=subprocess.PIPE, text=True
    )
    return {"cost": json.loads(done.stdout.splitlines()[-1])}


def measure(key):
    """Seconds, peak of the memory and the result of one metric."""
    data = Data(key)
    program = METRICS | {TRANSPORT: transport}
    call = program[key["metric"]](data)
    forget_peak()
    inputs = status_mib("VmRSS")
    with stopwatch() as seconds:
        result = call()
    peak = status_mib("VmHWM")
    return {
        **seconds,
        "peak_mib": peak,
        "above_inputs_mib": peak - inputs,
        "result": float(result),
    }


def forget_peak():
    """Let the peak of the memory start from what is in use, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class Data:
    """Inputs of one size and seed, each made when it is asked for."""

    def __init__(self, key):
        self.key = key

    def __getattr__(self, name):
        """One of the sizes."""
        try:
            return self.key[name]
        except KeyError:
            raise AttributeError(name) from None

    @functools.cached_property
    def codes(self):
        """Codes of both views, of which half the active latents are the same."""
        rng = np.random.default_rng(self.seed)
        shape = self.samples, self.k
        x_latents = rng.integers(self.latents, size=shape, dtype=np.int32)
        y_latents = x_latents.copy()
        half = shape[0], self.k - self.k // 2
        y_latents[:, self.k // 2 :] = rng.integers(self.latents, size=half)
        return tuple(
            make_codes(rows, self.latents, rng) for rows in (x_latents, y_latents)
        )

    @functools.cached_property
    def energies(self):
        """Energies of both views."""
        return tuple(metrics.energy(codes) for codes in self.codes)

    @functools.cached_property
    def scores(self):
        """Modality scores, spread evenly: those of the codes are all about 1/2."""
        return np.random.default_rng(self.seed).random(self.latents)

    @functools.cached_property
    def components(self):
        """Directions of the latents."""
        rng = np.random.default_rng(self.seed)
        shape = self.latents, self.features
        return rng.standard_normal(shape, dtype=np.float32)

    @functools.cached_property
    def embeddings(self):
        """Embeddings of both views."""
        rng = np.random.default_rng(self.seed)
        shape = self.samples, self.features
        return tuple(rng.standard_normal(shape, dtype=np.float32) for _ in "xy")

    @functools.cached_property
    def weights(self):
        """Co-activations; what takes these takes no codes, which are let go."""
        weights = metrics.coactivation_matrix(*self.codes)
        weights.data /= weights.data.sum()  # no more than a plan has
        del self.codes
        return weights


def make_codes(latents, n_latents, rng):
    """Codes in float32 with the given active latents, of which some are drawn twice."""
    n_samples, k = latents.shape
    latents = np.sort(latents, axis=1)
    indptr = np.arange(0, n_samples * k + 1, k)
    values = rng.exponential(size=latents.size).astype(np.float32)
    codes = sparse.csr_array(
        (values, latents.ravel(), indptr.astype(np.int32)), shape=(n_samples, n_latents)
    )
    codes.sum_duplicates()
    return codes


def transport(data):
    """Exact transport between two dictionaries with energies of their own."""
    rng = np.random.default_rng(data.seed)
    D = data.components
    near = D + rng.standard_normal(D.shape, dtype=np.float32)
    energies = rng.exponential(size=(2, len(D))) ** 2
    return lambda: metrics.transport_plan(D, near, *energies, max_latents=len(D)).cost


def shares(data):
    """Shares of energies that are there."""
    energies = data.energies
    return lambda: metrics.energy_shares(*energies).bimodal


def bias(data):
    """Half of the latents are of x alone, and the strongest of them looked at."""
    X, y = data.codes
    of_x, of_y = data.energies
    of_y = np.where(np.arange(len(of_y)) % 2, of_y, 0)
    share = np.quantile(of_x, 0.98) / of_x.sum()
    return lambda: (
        metrics.bias_latents(
            X, y, data.components, of_x, of_y, min_share=share
        ).total_frequency
    )


def probing(data):
    """Probes of rows that are drawn, as by default."""
    X, y = data.embeddings
    arguments = data.components, data.scores, np.ones(data.latents)
    return lambda: metrics.probing_accuracy(X, y, *arguments, random_state=0).score


def bridge(data):
    """The bridge matrix from weights that are there."""
    weights, D = data.weights, data.components
    return lambda: metrics.bridge_matrix(weights, D).sum()


def after_bridge(metric):
    """A metric of a bridge matrix that is there; here the weights stand for it."""
    return lambda data: functools.partial(metric, data.weights, data)


def of_codes(metric):
    """A metric of the codes of both views."""
    return lambda data: functools.partial(metric, *data.codes)


def _edges(bridge, _):
    """The strongest pairs."""
    return metrics.bridge_edges(bridge)["share"].sum()


def _mass(bridge, data):
    """Masses at eleven thresholds."""
    return metrics.bridge_mass(bridge, data.scores)["mass"].max()


def _rho(bridge, data):
    """The ratio rho."""
    bimodal = metrics.bimodal_latents(data.scores, tau=0.3)
    return metrics.functional_alignment_ratio(bridge, bimodal)


def _agreement(bridge, data):
    """FDA of a matrix with far more entries than a plan has."""
    bimodal = metrics.bimodal_latents(data.scores, tau=0.3)
    energies = np.ones(data.latents)
    return metrics.functional_distributional_agreement(bridge, bimodal, energies)


def _monosemanticity(data):
    """Scores of the latents of one view."""
    X, (e, _) = data.codes[0], data.embeddings
    return lambda: np.nanmean(metrics.monosemanticity_score(X, e))


def _multimodal(data):
    """Scores across both views."""
    arguments = *data.codes, *data.embeddings
    return lambda: np.nanmean(metrics.multimodal_monosemanticity_score(*arguments))


METRICS = {
    "energy": of_codes(lambda X, y: metrics.energy(X).sum()),
    "modality_score": of_codes(lambda X, y: metrics.modality_score(X, y).mean()),
    "firing_rate": of_codes(lambda X, y: metrics.firing_rate(X).sum()),
    "dead_latents": of_codes(lambda X, y: metrics.dead_latents(X).sum()),
    "always_on_latents": of_codes(lambda X, y: metrics.always_on_latents(X).sum()),
    "support_split": of_codes(lambda X, y: metrics.support_split(X, y).both.sum()),
    "energy_shares": shares,
    "bias_latents": bias,
    "coactivation_matrix": of_codes(lambda X, y: metrics.coactivation_matrix(X, y).nnz),
    "bridge_matrix": bridge,
    "bridge_edges": after_bridge(_edges),
    "bridge_mass": after_bridge(_mass),
    "functional_alignment_ratio": after_bridge(_rho),
    "functional_distributional_agreement": after_bridge(_agreement),
    "probing_accuracy": probing,
    "monosemanticity_score": _monosemanticity,
    "multimodal_monosemanticity_score": _multimodal,
}


if __name__ == "__main__":
    main()
