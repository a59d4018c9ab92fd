"""Recall of sparse codes beside dense products and FAISS: seconds, memory, recall."""

import functools
import importlib.util
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _common import FitLog, make_parser, report, status_mib, stopwatch
from scipy import sparse

from skxsae.metrics import retrieval_ranks

DEPTHS = (1, 5, 10)
_TORCH_ROWS = 512


def main(argv=None):
    """Run every method on the same codes and report them."""
    args = _parse(argv)
    log = FitLog(args.out / "recall.jsonl")
    fits = []
    for seed in args.seeds:
        for method in args.methods:
            if method == "faiss" and importlib.util.find_spec("faiss") is None:
                print("faiss: left out, it is not installed")
                continue
            key = {"method": method, "n_images": args.n_images, "seed": seed}
            key |= {"n_captions": args.n_captions, "n_latents": args.n_latents}
            key |= {"k": args.k, "threads": args.threads}
            fit = log.get_or_run(key, functools.partial(run_alone, key))
            fits.append(fit)
            print(f"{method}, seed {seed}: {fit['seconds']:.2f} s", flush=True)
    measurements = [fit["key"] | _figures_of(fit) for fit in fits]
    tables = {"one run each": pd.DataFrame(measurements)}
    title = f"recall: {args.n_images} x {args.n_images * args.n_captions}"
    report(args, "recall", title, _words(measurements), tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0, 1, 2])
    add = parser.add_argument
    add("--n-images", type=int, default=5000)
    add("--n-captions", type=int, default=5, help="captions of each image")
    add("--n-latents", type=int, default=8192)
    add("-k", type=int, default=32, help="latents drawn for each sample")
    add(
        "--threads", type=int, default=2, help="threads of torch and FAISS; ours is one"
    )
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    return parser.parse_args(argv)


def draw_pairs(n_images, n_captions, n_latents, k, seed):
    """Codes of images and of captions that share half of their latents, and whose."""
    rng = np.random.default_rng(seed)
    edges = np.cumsum(np.exp(1.5 * rng.standard_normal(n_latents)))
    edges /= edges[-1]

    def draw(n_rows, n):
        latents = np.searchsorted(edges, rng.random((n_rows, n)))
        return np.minimum(latents, n_latents - 1)

    of_images = draw(n_images, k)
    image = np.repeat(np.arange(n_images), n_captions)
    own = draw(len(image), k - k // 2)
    of_captions = np.hstack([of_images[image, : k // 2], own])
    views = (_codes(of_images, n_latents, rng), _codes(of_captions, n_latents, rng))
    return *views, image


def _codes(latents, n_latents, rng):
    """CSR codes with a positive float32 value at each of the latents of a row."""
    values = rng.exponential(size=latents.size).astype(np.float32)
    indptr = np.arange(0, latents.size + 1, latents.shape[1])
    shape = (len(latents), n_latents)
    codes = sparse.csr_array((values, latents.ravel(), indptr), shape=shape)
    codes.sum_duplicates()
    return codes


def run_alone(key):
    """Run one method in a process of its own, so that its peak of memory is its own."""
    drawing = {n: v for n, v in key.items() if n not in ("method", "threads")}
    images, captions, image = draw_pairs(**drawing)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{view}.npz" for view in ("images", "captions")]
        for path, codes in zip(paths, (images, captions), strict=True):
            sparse.save_npz(path, codes, compressed=False)
        np.save(Path(folder) / "image.npy", image)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            arguments = (key["method"], key["threads"], Path(folder))
            return pool.apply(run_on_files, arguments)


def run_on_files(method, threads, folder):
    """Seconds, peak of memory above the codes, and recall of both directions."""
    images, captions = (
        sparse.csr_array(sparse.load_npz(folder / f"{view}.npz"))
        for view in ("images", "captions")
    )
    image = np.load(folder / "image.npy")
    torch.set_num_threads(threads)
    if method == "faiss":  # its import is not part of the search
        importlib.import_module("faiss").omp_set_num_threads(threads)
    before = status_mib("VmRSS")
    with stopwatch() as seconds:
        recalls = METHODS[method](images, captions, image)
    names = [f"{way}@{k}" for way in ("x_to_y", "y_to_x") for k in DEPTHS]
    figures = dict(zip(names, map(float, recalls), strict=True))
    return {**seconds, "peak_mib": status_mib("VmHWM") - before, **figures}


def recall_sparse(images, captions, image):
    """Ours: each image once, ties against the true answer, float64."""
    ranks = retrieval_ranks(images[image], captions, groups=image)
    ways = ("x_to_y", "y_to_x")
    return [ranks.recall(k, direction=way) for way in ways for k in DEPTHS]


def recall_dense(images, captions, image):
    """Dense float32 rows, and one product block by block for both directions."""
    x, y = (torch.from_numpy(_unit_rows(codes)) for codes in (images, captions))
    of_caption = torch.from_numpy(image)
    true_score = torch.cat(
        [
            (
                y[start : start + _TORCH_ROWS]
                * x[of_caption[start : start + _TORCH_ROWS]]
            ).sum(dim=1)
            for start in range(0, len(y), _TORCH_ROWS)
        ]
    )
    found, above = [], torch.zeros(len(y), dtype=torch.int64)
    for start in range(0, len(x), _TORCH_ROWS):
        scores = x[start : start + _TORCH_ROWS] @ y.T
        nearest = scores.topk(max(DEPTHS), dim=1).indices
        items = torch.arange(start, start + len(scores))
        found.append(of_caption[nearest] == items[:, None])
        scores[of_caption[None] == items[:, None]] = -1
        above += (scores > true_score).sum(dim=0)
    found = torch.cat(found)
    to_captions = [found[:, :k].any(dim=1).double().mean() for k in DEPTHS]
    return [*to_captions, *((above < k).double().mean() for k in DEPTHS)]


def recall_faiss(images, captions, image):
    """FAISS's exact index of inner products, in both directions."""
    import faiss

    x, y = _unit_rows(images), _unit_rows(captions)
    recalls = []
    ways = ((x, y, np.arange(len(x)), image), (y, x, image, np.arange(len(x))))
    for queries, gallery, query_items, gallery_items in ways:
        index = faiss.IndexFlatIP(gallery.shape[1])
        index.add(gallery)
        nearest = index.search(queries, max(DEPTHS))[1]
        found = gallery_items[nearest] == query_items[:, None]
        recalls += [found[:, :k].any(axis=1).mean() for k in DEPTHS]
    return recalls


def _unit_rows(codes):
    """Dense float32 rows of unit length."""
    dense = codes.toarray()
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    return dense


METHODS = {"skxsae": recall_sparse, "torch": recall_dense, "faiss": recall_faiss}


def _figures_of(fit):
    """What was measured, without where and when."""
    names = ("seconds", "cpu_seconds", "peak_mib", "x_to_y@10", "y_to_x@10")
    return {name: fit[name] for name in names}


def _words(measurements):
    """Seconds and memory of each run, in a few words."""
    return "; ".join(
        f"{row['method']}: {row['seconds']:.1f} s, {row['peak_mib']:.0f} MiB"
        for row in measurements
    )


if __name__ == "__main__":
    main()
