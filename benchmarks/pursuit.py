"""Cost of codes by pursuit against those of the encoder, on one dictionary.

With overcomplete installed (`training_requirements.txt`) its matching pursuit is timed
beside ours, and the codes are compared.
"""

import importlib.util
import time

import numpy as np
import pandas as pd
import torch
from _common import make_parser, report, stamp
from sklearn.preprocessing import normalize

from skxsae import TopKSAE
from skxsae._encoding import Encoder

SHAPES = ((512, 4096, 32), (512, 4096, 20), (256, 4096, 16))
ALGORITHMS = ("encoder", "mp", "omp")


def main(argv=None):
    """Time every way to code the same rows, interleaved."""
    parser = make_parser(__doc__)
    parser.add_argument("--shape", type=int, nargs=3, help="features, latents, k")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    measurements = []
    for shape in [args.shape] if args.shape else SHAPES:
        measurements += measure(*shape, args.rows, args.rounds)
    frame = pd.DataFrame(measurements)
    figures = "; ".join(
        f"{row.algorithm} d {row.features} m {row.latents} k {row.k}: {row.ratio:.1f}"
        for row in frame.itertuples()
    )
    tables = {"CPU time over that of the encoder": frame}
    title = f"pursuit: {args.rows} random rows, random directions"
    report(args, "pursuit", title, figures, tables, measurements, [stamp()])


def measure(n_features, n_latents, k, n_rows, n_rounds):
    """A dict for each algorithm: CPU time over the encoder's, median of the rounds."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)).astype(np.float32)
    encoders = {}
    for algorithm in ALGORITHMS:
        encoder = Encoder(make_sae(X, n_latents, k, algorithm), X, "cpu")
        # made once for any number of samples
        encoder._picker, encoder._gram  # noqa: B018
        encoders[algorithm] = encoder
    block = encoders["encoder"].view[:]
    programs = {
        name: lambda encoder=encoder: encoder._active(block)
        for name, encoder in encoders.items()
    }
    errors = {}
    if importlib.util.find_spec("overcomplete"):
        peer = make_peer(encoders["mp"], k)
        programs["overcomplete_mp"] = peer
        errors["overcomplete_mp"] = difference(encoders["mp"]._active(block), peer())
    seconds = {name: [] for name in programs}
    for _ in range(n_rounds):
        for name, program in programs.items():
            start = time.process_time()
            program()
            seconds[name].append(time.process_time() - start)
    base = np.array(seconds["encoder"])
    return [
        {
            "algorithm": name,
            "features": n_features,
            "latents": n_latents,
            "k": k,
            "ratio": float(np.median(np.array(of_name) / base)),
            "largest_difference": errors.get(name, float("nan")),
        }
        for name, of_name in seconds.items()
    ]


def make_sae(X, n_latents, k, algorithm):
    """An autoencoder with random unit directions, which no fit has changed."""
    sae = TopKSAE(
        n_latents, k, max_iter=1, normalize=None, learning_rate=1e-12, random_state=0
    )
    sae.fit(X[: max(2, len(X) // 8)])
    sae.mean_[:] = 0
    sae.components_ = normalize(sae.components_)
    return sae.set_params(transform_algorithm=algorithm)


def make_peer(encoder, k):
    """overcomplete's matching pursuit on the same dictionary."""
    from training import mend_torchvision

    mend_torchvision()
    from overcomplete.sae import MpSAE

    dictionary = encoder.decoder
    peer = MpSAE(dictionary.shape[1], len(dictionary), k=k).eval()
    peer.get_dictionary = lambda: dictionary
    block = encoder.view[:]

    @torch.no_grad()
    def encode():
        return peer.encode(block)[1]

    return encode


def difference(codes, dense):
    """Largest difference between sparse codes and dense ones."""
    values, indices = codes
    ours = torch.zeros_like(dense).scatter_add(1, indices, values)
    return float((ours - dense).abs().max())


if __name__ == "__main__":
    main()
