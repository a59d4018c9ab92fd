"""Matching from sparse codes beside the dense way: seconds, memory and the sum matched.

"sums" adds up the codes part by part, as where a view is larger than memory.
Codes are drawn at random, with uneven firing rates: lognormal ones, or those of a
trained autoencoder that a file holds.
"""

import functools
import multiprocessing
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, report, status_mib, stopwatch
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from skxsae import CoactivationMatcher
from skxsae._distributed import ALONE
from skxsae._pair_sums import parts_of

MIN_FIRES = 10


def main(argv=None):
    """Run every method at every size and report them."""
    args = _parse(argv)
    log = FitLog(args.out / "matching.jsonl")
    fits = []
    for n_pairs, n_latents in args.sizes:
        for seed in args.seeds:
            size = {"n_pairs": n_pairs, "n_latents": n_latents, "k": args.k}
            drawing = {"spread": args.spread, "shared": args.shared, "seed": seed}
            drawing["rates"] = args.rates
            for method in args.methods:
                if method == "dense" and _dense_gib(size) > args.dense_gib:
                    print(f"dense at {n_pairs}x{n_latents}: left out, see --dense-gib")
                    continue
                key = {"method": method, **size, **drawing}
                fit = log.get_or_run(key, functools.partial(run_alone, key))
                fits.append(fit)
                print(f"{_name(key)}: {fit['seconds']:.1f} s", flush=True)
    measurements = [fit["key"] | _figures_of(fit) for fit in fits]
    tables = {"one run each": tabulate(measurements)}
    rates = f"log-rates spread by {args.spread}"
    title = f"matching: k {args.k}, {'rates of a file' if args.rates else rates}"
    report(args, "matching", title, _words(measurements), tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0])
    add = parser.add_argument
    add(
        "--sizes",
        nargs="+",
        type=_size,
        default=["50000x4096", "50000x8192", "100000x8192"],
        help="pairs x latents per view",
    )
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    add("-k", type=int, default=32, help="latents drawn for each sample")
    add(
        "--spread",
        type=float,
        default=1.5,
        help="standard deviation of the logarithm of the firing rates",
    )
    add("--rates", help="file.npy of firing rates to draw from, in place of --spread")
    add("--shared", type=float, default=0.5, help="share that both views draw alike")
    add(
        "--dense-gib",
        type=float,
        default=6,
        help="leave the dense way out where its two standardised views take more",
    )
    args = parser.parse_args(argv)
    # defaults that are lists of strings are not converted by argparse
    args.sizes = [_size(size) if isinstance(size, str) else size for size in args.sizes]
    return args


def _size(text):
    """``"50000x4096"`` as a tuple."""
    n_pairs, _, n_latents = text.partition("x")
    return int(n_pairs), int(n_latents)


def _dense_gib(size):
    """GiB of both views as dense float32 arrays."""
    return 2 * size["n_pairs"] * size["n_latents"] * 4 / 2**30


def _name(key):
    """A run in a few words."""
    return f"{key['method']} at {key['n_pairs']}x{key['n_latents']}, seed {key['seed']}"


def draw_codes(n_pairs, n_latents, k, spread, shared, seed, rates=None):
    """Codes of two views that draw part of their latents alike, in another order."""
    rng = np.random.default_rng(seed)
    if rates is None:
        rates = np.exp(spread * rng.standard_normal(n_latents))
    else:
        rates = rng.choice(np.load(rates), n_latents)
    edges = np.cumsum(rates / rates.sum())

    def draw(n):
        latents = np.searchsorted(edges, rng.random((n_pairs, n)))
        return np.minimum(latents, n_latents - 1)

    common, order = draw(round(k * shared)), rng.permutation(n_latents)
    views = []
    for names in (np.arange(n_latents), order):
        latents = names[np.hstack([common, draw(k - common.shape[1])])]
        values = rng.exponential(size=latents.size).astype(np.float32)
        indptr = np.arange(0, latents.size + 1, k, dtype=np.int32)
        parts = (values, latents.ravel().astype(np.int32), indptr)
        codes = sparse.csr_array(parts, shape=(n_pairs, n_latents))
        codes.sum_duplicates()
        views.append(codes)
    return views


def run_alone(key):
    """Run one method in a process of its own, so that its peak of memory is its own."""
    drawing = {name: value for name, value in key.items() if name != "method"}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{view}.npz" for view in "xy"]
        for path, codes in zip(paths, draw_codes(**drawing), strict=True):
            sparse.save_npz(path, codes, compressed=False)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            return pool.apply(run_on_files, (key["method"], paths))


def run_on_files(method, paths):
    """Seconds, peak of memory above the codes, and figures of one method."""
    codes = [sparse.load_npz(path) for path in paths]
    before = status_mib("VmRSS")
    with stopwatch() as seconds:
        figures = METHODS[method](*codes)
    return {**seconds, "peak_mib": status_mib("VmHWM") - before, **figures}


def match_sparse(x, y, n_null="auto", fit=CoactivationMatcher.fit):
    """Our matcher, with its noise floor."""
    matcher = CoactivationMatcher(min_fires=MIN_FIRES, n_null=n_null, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fit(matcher, x, y)
    trace = float(np.nansum(matcher.scores_))
    figures = {
        "trace": trace,
        "matched": int(np.sum(matcher.matching_ >= 0)),
        "relative_gap": max(matcher.gap_, 0.0) / trace,
    }
    if n_null != 0:
        figures["above_noise"] = int(matcher.above_noise_.sum())
    return figures


def fit_from_sums(matcher, x, y):
    """Fit a matcher on parts of the codes."""
    n_pairs = x.shape[0]
    parts = parts_of(slice(0, n_pairs), np.random.default_rng(0))
    codes = ((rows, x[rows], y[rows], None) for rows in parts)
    matcher._fit_parts(codes, n_pairs, (x.shape[1], y.shape[1]), ALONE)


def match_dense(x, y):
    """Standardised dense float32 codes, their product and SciPy's dense solver."""
    x, y = _standardised(x), _standardised(y)
    correlation = x.T @ y / np.float32(len(x))
    del x, y
    rows, columns = linear_sum_assignment(correlation, maximize=True)
    trace = correlation[rows, columns].sum(dtype=np.float64)
    return {"trace": float(trace), "matched": len(rows)}


def _standardised(codes):
    """Living latents as dense columns of mean 0 and variance 1."""
    alive = codes.count_nonzero(axis=0) >= MIN_FIRES
    dense = codes[:, alive].toarray()
    dense -= dense.mean(axis=0)
    dense /= dense.std(axis=0)
    return dense


def count_firing_together(x, y, step=512):
    """Pairs of latents that ever fire together: the nonzeros of the product."""
    by_latent = sparse.csr_array(x.T)
    starts = range(0, by_latent.shape[0], step)
    return {"nonzeros": sum((by_latent[i : i + step] @ y).nnz for i in starts)}


METHODS = {
    "nonzeros": count_firing_together,
    "sparse": match_sparse,
    "sparse_no_null": functools.partial(match_sparse, n_null=0),
    "sums": functools.partial(match_sparse, fit=fit_from_sums),
    "dense": match_dense,
}


def _figures_of(fit):
    """What a fit was measured to be, without where and when."""
    names = ("seconds", "cpu_seconds", "peak_mib", "trace", "matched", "above_noise")
    names += ("relative_gap", "nonzeros")
    return {name: fit[name] for name in names if name in fit}


def tabulate(measurements):
    """Table to print, one row for each run."""
    frame = pd.DataFrame(measurements).drop(columns=["k", "spread", "shared", "rates"])
    return frame.set_index(["n_pairs", "n_latents", "seed", "method"])


def _words(measurements):
    """Seconds and memory of each run, in a few words."""
    return "; ".join(
        f"{_name(row)}: {row['seconds']:.1f} s, {row['peak_mib']:.0f} MiB"
        for row in measurements
    )


if __name__ == "__main__":
    main()
