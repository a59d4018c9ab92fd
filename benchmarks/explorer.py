"""Time, memory and size of the explorer's page for many concepts and samples.

Samples are sums of `k` random directions out of as many as there are concepts, and
texts name these. Pictures are one of 512 of coloured waves, put in anew for each sample
that is shown: how large a real one is depends on what it shows. The model is a shared
dictionary that is hardly trained, since what it has learnt costs the page nothing.
"""

import functools
import json
import re

import numpy as np
import pandas as pd
from _common import FitLog, make_parser, report, status_mib, stopwatch

from skxsae import PairedSAE
from skxsae.inspection import explore

N_PICTURES, PICTURE_SIZE = 512, 96
N_TRAIN = 4096


def main(argv=None):
    """Write the page of every seed and report it."""
    args = _parse(argv)
    log = FitLog(args.out / "explorer.jsonl")
    names = ("samples", "concepts", "features", "k", "layout", "pictures")
    fits = []
    for seed in args.seeds:
        key = {"seed": seed, **{name: getattr(args, name) for name in names}}
        fits.append(log.get_or_run(key, functools.partial(run, key, args.out)))
    rows = [{"seed": fit["key"]["seed"], **fit["page"]} for fit in fits]
    table = pd.DataFrame(rows).set_index("seed")
    title = f"explorer: {args.concepts} concepts, {args.samples} samples"
    title += f"{', pictures' * args.pictures}, layout {args.layout}"
    figures = "; ".join(f"{name} {table[name].mean():.4g}" for name in table)
    report(args, "explorer", title, figures, {"pages": table}, rows, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0])
    add = parser.add_argument
    add("--samples", type=int, default=50_000)
    add("--concepts", type=int, default=10_000)
    add("--features", type=int, default=256)
    add("-k", type=int, default=32, help="active latents of a sample")
    add("--layout", choices=["tsne", "pca"], default="tsne")
    add("--pictures", action="store_true", help="show pictures too")
    return parser.parse_args(argv)


def make_pairs(key):
    """Two noisy views of the same sums of directions, and texts that name these."""
    rng = np.random.default_rng(key["seed"])
    shape = key["concepts"], key["features"]
    directions = rng.standard_normal(shape, dtype=np.float32)
    active = rng.integers(shape[0], size=(key["samples"], key["k"] // 2))
    values = rng.exponential(size=active.shape).astype(np.float32)
    X = np.stack([v @ directions[a] for v, a in zip(values, active, strict=True)])
    y = X + 0.5 * rng.standard_normal(X.shape, dtype=np.float32)
    texts = [" ".join(f"word{number}" for number in row) for row in active]
    return X, y, texts


def waves(n):
    """Pictures of coloured waves."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:PICTURE_SIZE, :PICTURE_SIZE] / PICTURE_SIZE
    a, b, c = rng.random((3, n, 3, 1, 1))
    pictures = 127 + 120 * np.sin(48 * (a * rows + b * columns) + c)
    return pictures.astype(np.uint8).transpose(0, 2, 3, 1)


def run(key, folder):
    """Write one page, and say what it cost."""
    X, y, texts = make_pairs(key)
    sae = PairedSAE(key["concepts"], key["k"], max_iter=1, random_state=key["seed"])
    sae.fit(X[:N_TRAIN], y[:N_TRAIN])
    images = None
    if key["pictures"]:
        pictures = waves(N_PICTURES)
        images = [pictures[i % N_PICTURES] for i in range(len(X))]
    before = status_mib("VmRSS")
    with stopwatch() as seconds:
        path = explore(
            sae,
            X,
            y,
            images=images,
            texts=texts,
            layout=key["layout"],
            thumbnail_size=PICTURE_SIZE,
            path=folder / "concepts.html",
        )
    page = measure(path) | seconds | {"peak_mib": status_mib("VmHWM") - before}
    return {**seconds, "page": page}


def measure(path):
    """How many concepts, texts and pictures a page has, and their bytes."""
    page = path.read_text(encoding="utf-8")
    (found,) = re.findall(r'type="application/json">(.*?)</script>', page, re.DOTALL)
    data = json.loads(found)
    pictures = [picture for picture in data["items"].get("picture", []) if picture]
    of_parts = {
        "pictures": sum(map(len, pictures)),
        "texts": _n_bytes(data["items"]["text"]),
        "queries": _n_bytes(data["queries"]),
    }
    of_parts["concepts"] = _n_bytes(data) - sum(of_parts.values())
    total = path.stat().st_size
    return {
        "mb": total / 1e6,
        "mb_of_programs": (total - len(found.encode())) / 1e6,
        **{f"mb_of_{name}": n / 1e6 for name, n in of_parts.items()},
        "n_concepts": len(data["concepts"]["number"]),
        "n_texts": len(data["items"]["text"]),
        "n_pictures": len(pictures),
    }


def _n_bytes(data):
    """Bytes of data as JSON."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode())


if __name__ == "__main__":
    main()
