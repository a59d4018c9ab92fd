"""Training steps of ours and of other libraries: time, memory, and what they learn.

Needs an environment of its own for the other libraries; those that are missing are
left out::

    python -m venv training-venv
    training-venv/bin/python -m pip install -r benchmarks/training_requirements.txt
    training-venv/bin/python -m pip install --no-deps .
    training-venv/bin/python benchmarks/training.py --out out/training

All programs start from the same weights, see the same rows, normalised as
``normalize="scale"`` does, at a constant learning rate of 5e-4, and have no auxiliary
loss. The docstring of each program says what else it does.
"""

import contextlib
import functools
import importlib.metadata
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch
from _common import FitLog, interval, make_parser, report, status_mib, stopwatch
from sklearn.frozen import FrozenEstimator
from torch.profiler import ProfilerActivity, profile

import skxsae._fitting
from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae._activations import ACTIVATIONS, Encoding
from skxsae._capture import captured
from skxsae._functional import to_dense
from skxsae._initial_weights import initial_weights
from skxsae._trainer import Settings, Trainer

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RATE = 5e-4
NEVER = 2**40  # rows or steps until a latent counts as dead
LARGE = "768x65536x32x1024"
TABLE_1 = "512x4096x32x1024"
OURS, DENSE, FLOOR = "ours_float32", "dense", "encoder_product"


class Shape(NamedTuple):
    """Sizes of a training step."""

    d: int
    m: int
    k: int
    batch: int

    @classmethod
    def of(cls, text):
        """``"512x4096x32x1024"`` as a shape."""
        return cls(*map(int, text.split("x")))

    def __str__(self):
        return "x".join(map(str, self))

    @property
    def n_parameters(self):
        """Entries of both matrices and both biases."""
        return 2 * self.m * self.d + self.m + self.d


TINY = Shape(16, 64, 2, 32)


class Program(NamedTuple):
    """Takes steps on batches of rows; `read` gives dense codes and reconstructions."""

    step: Callable
    read: Callable | None = None


def main(argv=None):
    """Measure what was asked for and report it."""
    args = _parse(argv)
    torch.set_num_threads(args.threads)
    programs = [name for name in args.programs if not _why_missing(name)]
    for name in set(args.programs) - set(programs):
        print(f"{name}: left out, {_why_missing(name)}")
    where = {"data": args.data, "threads": args.threads, "device": DEVICE}
    log = FitLog(args.out / "training.jsonl")
    fits = []
    for key, run in _plan(args, programs, where):
        fits.append(log.get_or_run(key, run))
        names = "measure", "shape", "program", "seed", "precision"
        print(*(str(key[name]) for name in names if name in key), "done", flush=True)
    tables = tabulate(fits)
    if "steps" in tables or "memory" in tables:
        plot(tables, args.out)
    measurements = [
        {"measure": name, **row}
        for name, table in tables.items()
        for row in table.to_dict("records")
    ]
    title = f"training: {Path(args.data).stem if args.data else 'low rank plus noise'}"
    report(args, "training", title, _figures(tables), tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0])
    add = parser.add_argument
    add("--data", help="file.npy of rows; without it, rows of low rank plus noise")
    add(
        "--shapes",
        nargs="*",
        default=[TABLE_1, "256x4096x16x256"],
        help="features x latents x active x batch",
    )
    add("--programs", nargs="+", choices=list(PROGRAMS), default=_default_programs())
    add("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    add("--threads", type=int, default=2)
    add("--rounds", type=int, default=40, help="steps of each program that are timed")
    add("--memory-steps", type=int, default=6, help="steps whose memory is taken")
    add("--steps", type=int, default=400, help="steps before the quality is taken")
    add("--rows", type=int, default=20_000, help="rows in use, a fifth held out")
    add("--large", action="store_true", help=f"also time and size ours at {LARGE}")
    add(
        "--table1",
        nargs="+",
        default=[],
        metavar="PRECISION",
        help="also train two views as in Table 1 of the heterogeneity paper, on a GPU",
    )
    args = parser.parse_args(argv)
    if args.table1 and DEVICE == "cpu":
        parser.error("--table1 trains on 2 x 2.82 million rows and needs a CUDA device")
    return args


def _plan(args, programs, where):
    """Key of each measurement, and the function that makes it."""
    for text in args.shapes:
        shape = Shape.of(text)
        for part in args.parts:
            yield from PARTS[part](args, programs, shape, where)
    if args.large:
        where_large = {**where, "data": None}
        for name in (OURS, "ours_screen"):
            key = {"measure": "large", "program": name, "shape": LARGE, **where_large}
            size = Shape.of(LARGE), args.memory_steps, 8 * 1024
            yield key, functools.partial(run_alone, name, *size, where_large)
    for precision in args.table1:
        key = {"measure": "table1", "shape": TABLE_1, "precision": precision, **where}
        yield key, functools.partial(train_table_1, Shape.of(TABLE_1), precision)


def _plan_steps(args, programs, shape, where):
    key = {"measure": "steps", "programs": programs, "shape": str(shape), **where}
    key |= {"rounds": args.rounds}

    def run():
        rows = load_rows(args.data, shape, args.rows)
        taken = time_steps(build_all(programs, shape, rows), shape, rows, args.rounds)
        return {**taken, "versions": versions(programs)}

    yield key, run


def _plan_memory(args, programs, shape, where):
    for name in without_floor(programs):
        key = {"measure": "memory", "program": name, "shape": str(shape), **where}
        size = shape, args.memory_steps, args.rows
        yield key, functools.partial(run_alone, name, *size, where)


def _plan_quality(args, programs, shape, where):
    def run(name, seed):
        rows = load_rows(args.data, shape, args.rows)
        return learn(name, rows, shape, args.steps, seed)

    for seed in args.seeds:
        for name in without_floor(programs):
            key = {"measure": "quality", "program": name, "shape": str(shape)}
            key |= {"seed": seed, "steps": args.steps, "rows": args.rows, **where}
            yield key, functools.partial(run, name, seed)


def _plan_loop(args, programs, shape, where):
    if DEVICE == "cuda":  # there steps are replayed, and no call of one is to be timed
        return
    key = {"measure": "loop", "shape": str(shape), "rows": args.rows, **where}
    yield key, lambda: time_loop(load_rows(args.data, shape, args.rows), shape)


PARTS = {
    "steps": _plan_steps,
    "memory": _plan_memory,
    "quality": _plan_quality,
    "loop": _plan_loop,
}


def load_rows(path, shape, n_rows):
    """Normalised float32 rows (n_rows, d) on the device.

    Rows of a file that are wider are projected on their first principal components.
    """
    if path is None:
        rng = np.random.default_rng(0)
        directions = rng.standard_normal((64, shape.d))
        rows = rng.standard_normal((n_rows, 64)) @ directions
        rows += 0.3 * rng.standard_normal((n_rows, shape.d))
    else:
        rows = np.load(path, mmap_mode="r")
        order = np.random.default_rng(0).permutation(len(rows))[:n_rows]
        rows = rows[order].astype(np.float64)
    rows = rows - rows.mean(axis=0)
    if rows.shape[1] < shape.d:
        raise ValueError(f"{path} has {rows.shape[1]} columns, but d is {shape.d}.")
    if rows.shape[1] > shape.d:
        _, directions = np.linalg.eigh(rows.T @ rows)
        rows = rows @ directions[:, ::-1][:, : shape.d]
    rows /= np.sqrt(np.square(rows).sum(axis=1).mean())
    return torch.from_numpy(rows.astype(np.float32)).to(DEVICE)


def batches(rows, shape, n_batches, seed=0):
    """Batches of the rows that are not held out, shuffled in each pass."""
    rng = np.random.default_rng(seed)
    rows = rows[: len(rows) * 4 // 5]
    size = min(shape.batch, len(rows))
    per_pass = len(rows) // size
    for i in range(n_batches):
        if i % per_pass == 0:
            order = torch.from_numpy(rng.permutation(len(rows))).to(rows.device)
        yield rows[order[i % per_pass * size :][:size]]


def first_weights(shape, rows, seed=0):
    """What every program starts from: ours."""
    mean = torch.zeros(shape.d, device=rows.device)
    rng = np.random.RandomState(seed)
    sample = rows[: shape.batch]
    return initial_weights(shape.m, [sample], [mean], _settings(shape), rng)[0]


def _settings(shape, precision="float32"):
    return Settings(
        k=shape.k,
        activation="topk",
        loss="fvu",
        batch_size=shape.batch,
        learning_rate=RATE,
        schedule="constant",
        aux_k=max(1, shape.d // 2),
        aux_weight=0.0,
        dead_after=NEVER,
        precision=precision,
    )


def build_all(names, shape, rows):
    """Programs by name, each with a copy of the same weights."""
    weights = first_weights(shape, rows)
    return {name: PROGRAMS[name](shape, weights) for name in names}


def ours(shape, start, precision="float32"):
    """The engine of this package: tangent gradients, clipping, fused AdamW."""
    own = start._replace(**_copies(start))
    take = captured(Trainer([own], _settings(shape, precision)))

    @torch.no_grad()
    def read(rows):
        how = Encoding(shape.k, precision)
        code = ACTIVATIONS["topk"](rows - own.pre_bias, own, how)
        codes = to_dense(code.values, code.indices, shape.m)
        return codes, codes @ own.decoder + own.pre_bias

    return Program(lambda rows: take([rows], RATE), read)


def dense(shape, start, compiled=False, tf32=False):
    """What the code of the papers does: dense products, autograd, clipping, AdamW."""
    own = {name: tensor.requires_grad_() for name, tensor in _copies(start).items()}
    encoder, bias, decoder, pre_bias = own.values()
    optimizer = torch.optim.AdamW(own.values(), lr=RATE, weight_decay=1e-5)

    def read(rows):
        pre = torch.relu((rows - pre_bias) @ encoder.T + bias)
        values, indices = pre.topk(shape.k, dim=1)
        codes = torch.zeros_like(pre).scatter(1, indices, values)
        return codes, codes @ decoder + pre_bias

    def loss(rows):
        return fvu(rows, read(rows)[1])

    loss = torch.compile(loss) if compiled else loss

    def step(rows):
        optimizer.zero_grad()
        with _tf32(tf32):
            loss(rows).backward()
        with torch.no_grad():
            along = (decoder.grad * decoder).sum(1, keepdim=True)
            decoder.grad -= along * decoder
        torch.nn.utils.clip_grad_norm_(list(own.values()), 1.0)
        optimizer.step()
        with torch.no_grad():
            decoder.div_(decoder.norm(dim=1, keepdim=True))

    return Program(step, torch.no_grad()(read))


def overcomplete(shape, start):
    """Its `train_sae` on TopKSAE: clipping, no tangent gradients, no pre-bias.

    The loss and the optimiser are the caller's: FVU and AdamW with decay 1e-5.
    """
    from overcomplete.sae import TopKSAE as Model
    from overcomplete.sae import train_sae

    model = Model(shape.d, shape.m, top_k=shape.k, device=DEVICE)
    encoder = model.encoder.final_block[0]
    _fill(encoder.weight, start.encoder)
    _fill(encoder.bias, start.encoder_bias)
    _fill(model.dictionary._weights, start.decoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-5)

    def step(rows):
        train_sae(
            model,
            [rows],
            lambda x, x_hat, *others: fvu(x, x_hat),
            optimizer,
            nb_epochs=1,
            monitoring=0,
            device=DEVICE,
        )

    @torch.no_grad()
    def read(rows):
        model.eval()
        codes = model.encode(rows)[1]
        return codes, model.decode(codes)

    return Program(step, read)


def sae_lens(shape, start):
    """Its SAETrainer on a TopKTrainingSAE: squared error, clipping, Adam.

    Rows of the decoder are free; activations are rescaled by their norms.
    """
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sizes = {"d_in": shape.d, "d_sae": shape.m, "k": shape.k}
    model = TopKTrainingSAE(
        TopKTrainingSAEConfig(**sizes, aux_loss_coefficient=0.0, device=DEVICE)
    )
    _fill(model.W_enc, start.encoder.T)
    _fill(model.b_enc, start.encoder_bias)
    _fill(model.W_dec, start.decoder)
    _fill(model.b_dec, start.pre_bias)
    config = SAETrainerConfig(
        total_training_samples=NEVER,
        train_batch_size_samples=shape.batch,
        lr=RATE,
        lr_end=RATE,
        device=DEVICE,
        dead_feature_window=NEVER,
    )
    trainer = SAETrainer(config, model, data_provider=iter(()))

    @torch.no_grad()
    def read(rows):
        codes = model.encode(rows)
        return codes, model.decode(codes)

    return Program(trainer.step, read)


def dictionary_learning(shape, start):
    """Its TopKTrainer: squared error, tangent gradients, clipping, Adam, unit rows."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=NEVER,
        activation_dim=shape.d,
        dict_size=shape.m,
        k=shape.k,
        layer=0,
        lm_name="none",
        lr=RATE,
        auxk_alpha=0.0,
        warmup_steps=0,
        device=DEVICE,
    )
    model = trainer.ae
    _fill(model.encoder.weight, start.encoder)
    _fill(model.encoder.bias, start.encoder_bias)
    _fill(model.decoder.weight, start.decoder.T)
    _fill(model.b_dec, start.pre_bias)

    @torch.no_grad()
    def read(rows):
        codes = model.encode(rows)
        return codes, model.decode(codes)

    # step 0 would move the pre-bias to the geometric median of the batch
    return Program(functools.partial(trainer.update, 1), read)


def sparsify(shape, start):
    """Its SparseCoder under the step of its Trainer, which needs a language model.

    FVU, tangent gradients, Adam, unit rows; it does not clip.
    """
    from sparsify import SparseCoder, SparseCoderConfig

    config = SparseCoderConfig(num_latents=shape.m, k=shape.k)
    model = SparseCoder(shape.d, config, device=DEVICE, dtype=torch.float32)
    _fill(model.encoder.weight, start.encoder)
    _fill(model.encoder.bias, start.encoder_bias)
    _fill(model.W_dec, start.decoder)
    _fill(model.b_dec, start.pre_bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    silent = torch.zeros(shape.m, dtype=torch.long, device=DEVICE)

    def step(rows):
        model.set_decoder_norm_to_unit_norm()
        out = model(rows)
        out.fvu.backward()
        model.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        silent.add_(len(rows))
        silent[out.latent_indices.flatten()] = 0

    @torch.no_grad()
    def read(rows):
        model.set_decoder_norm_to_unit_norm()
        out = model(rows)
        values = out.latent_acts.float()
        return to_dense(values, out.latent_indices, shape.m), out.sae_out.float()

    return Program(step, read)


def encoder_product(shape, start):
    """The float32 product of rows and encoder, which no step does without."""
    return Program(lambda rows: rows @ start.encoder.T)


PROGRAMS = {
    OURS: ours,
    "ours_tf32": functools.partial(ours, precision="tf32"),
    "ours_screen": functools.partial(ours, precision="screen"),
    "ours_bf16": functools.partial(ours, precision="bf16"),
    "ours_int8": functools.partial(ours, precision="int8"),
    "sparsify": sparsify,
    "overcomplete": overcomplete,
    DENSE: dense,
    "dense_compiled": functools.partial(dense, compiled=True),
    "dense_compiled_tf32": functools.partial(dense, compiled=True, tf32=True),
    "sae_lens": sae_lens,
    "dictionary_learning": dictionary_learning,
    FLOOR: encoder_product,
}
LIBRARIES = {  # as the index calls them
    "sparsify": "eai-sparsify",
    "overcomplete": "overcomplete",
    "sae_lens": "sae-lens",
    "dictionary_learning": "dictionary-learning",
}
ONLY_ON_CUDA = {"ours_tf32", "dense_compiled", "dense_compiled_tf32"}


def without_floor(names):
    """The programs that train."""
    return [name for name in names if name != FLOOR]


def _default_programs():
    left_out = set() if DEVICE == "cuda" else ONLY_ON_CUDA
    return [name for name in PROGRAMS if name not in left_out]


def fvu(rows, reconstruction):
    """Squared error over the variance of the batch."""
    variance = (rows - rows.mean(0)).square().sum()
    return (rows - reconstruction).square().sum() / variance


def _copies(weights):
    """Own copies of the encoder, its bias, the decoder and the pre-bias."""
    names = "encoder", "encoder_bias", "decoder", "pre_bias"
    return {name: getattr(weights, name).detach().clone() for name in names}


@torch.no_grad()
def _fill(parameter, values):
    parameter.copy_(values)


def _why_missing(name):
    """Why the library of a program cannot be imported, empty if it can."""
    if name not in LIBRARIES:
        return ""
    mend_torchvision()
    try:
        importlib.import_module(name)
    except (ImportError, AttributeError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@functools.cache
def mend_torchvision():
    """Declare two operators that torchvision lacks beside a torch of another build.

    All these libraries import it or what imports it, and none of them needs it here.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return None
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        return library
    return None


def versions(programs):
    """Versions of the libraries behind the programs."""
    return {
        name: importlib.metadata.version(LIBRARIES[name])
        for name in programs
        if name in LIBRARIES
    }


def time_steps(programs, shape, rows, rounds, warm_up=5):
    """Seconds of each program's steps, in rounds: one step of each on one batch.

    The order in a round is random, so that no program always follows the same one.
    """
    rng = np.random.default_rng(0)
    taken = {name: [] for name in programs}
    for batch in batches(rows, shape, warm_up + rounds):
        for name in rng.permutation(list(programs)):
            _synchronize()
            with stopwatch() as of_step:
                programs[name].step(batch)
                _synchronize()
            taken[name].append(of_step)
    return {
        clock: {name: [t[clock] for t in taken[name][warm_up:]] for name in programs}
        for clock in ("seconds", "cpu_seconds")
    }


def _synchronize():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def run_alone(name, shape, n_steps, n_rows, where):
    """Peak of memory of a program, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(measure_memory, (name, shape, n_steps, n_rows, where))


def measure_memory(name, shape, n_steps, n_rows, where):
    """MiB above the data, the imports and the first weights, and seconds of a step."""
    torch.set_num_threads(where["threads"])
    _why_missing(name)
    learn(name, load_rows(None, TINY, 320), TINY, 1, 0)  # what is imported late
    rows = load_rows(where["data"], shape, n_rows)
    weights = first_weights(shape, rows)
    before = _begin_to_watch_memory()
    program = PROGRAMS[name](shape, weights)
    taken = time_steps({name: program}, shape, rows, n_steps, warm_up=1)
    return {
        "peak_mib": _peak_mib() - before,
        "state_mib": state_bytes(shape) / 2**20,
        "seconds": taken["seconds"][name],
    }


def state_bytes(shape):
    """Bytes that no step with Adam goes without: weights, gradients and two moments."""
    return 4 * 4 * shape.n_parameters


def _begin_to_watch_memory():
    """MiB in use; forgets the peak until now where the system lets it."""
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return status_mib("VmRSS")


def _peak_mib():
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return status_mib("VmHWM")


def learn(name, rows, shape, n_steps, seed):
    """What a program has learnt after some steps, on the held-out rows."""
    program = PROGRAMS[name](shape, first_weights(shape, rows, seed))
    with stopwatch() as seconds:
        for batch in batches(rows, shape, n_steps, seed):
            program.step(batch)
        _synchronize()
    test = rows[len(rows) * 4 // 5 :]
    error, n_active, fired = 0.0, 0, torch.zeros(shape.m, device=rows.device)
    for block in test.split(1024):
        codes, reconstruction = program.read(block)
        error += float((block - reconstruction).double().square().sum())
        n_active += int(codes.count_nonzero())
        fired += codes.count_nonzero(dim=0)
    variance = float((test - test.mean(0)).double().square().sum())
    return {
        **seconds,
        "explained_variance": 1 - error / variance,
        "l0": n_active / len(test),
        "dead_share": float((fired == 0).float().mean()),
    }


def time_loop(rows, shape, max_iter=2):
    """Shares of a fit that lie outside the steps, and of a step outside torch."""
    X = rows.cpu().numpy()
    sae = TopKSAE(
        shape.m,
        shape.k,
        batch_size=shape.batch,
        max_iter=max_iter,
        aux_weight=0.0,
        random_state=0,
    )
    sae.fit(X[: 2 * shape.batch])  # warm-up
    with (
        _timed(Trainer, "step") as steps,
        _timed(skxsae._fitting, "train") as loop,
        stopwatch() as fit,
    ):
        sae.fit(X)
    in_steps = sum(steps)
    shares = {
        "loop_outside_steps": 1 - in_steps / sum(loop),
        "fit_outside_steps": 1 - in_steps / fit["seconds"],
        "step_outside_torch": _share_outside_torch(shape, rows),
    }
    return {**fit, "n_steps": len(steps), **shares}


@contextlib.contextmanager
def _timed(owner, name):
    """Seconds of each call of a function, as a list that grows."""
    function, seconds = getattr(owner, name), []

    @functools.wraps(function)
    def call(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        _synchronize()
        seconds.append(time.perf_counter() - start)
        return result

    with mock.patch.object(owner, name, call):
        yield seconds


def _share_outside_torch(shape, rows, n_steps=10):
    """Share of a step that is not in torch's operations, by torch's profiler.

    The profiler's own time counts as outside.
    """
    step = ours(shape, first_weights(shape, rows)).step
    for batch in batches(rows, shape, 3):
        step(batch)
    with profile(activities=[ProfilerActivity.CPU]) as watch, stopwatch() as seconds:
        for batch in batches(rows, shape, n_steps):
            step(batch)
    inside = sum(
        event.self_cpu_time_total
        for event in watch.key_averages()
        if event.key.startswith("aten::")
    )
    return 1 - inside / 1e6 / seconds["seconds"]


def train_table_1(shape, precision, n_rows=2_820_000, max_iter=10):
    """Both autoencoders of random views and their matching, and the least they cost."""
    rng = torch.Generator(DEVICE).manual_seed(0)
    views = [
        torch.randn(n_rows, shape.d, generator=rng, device=DEVICE).cpu().numpy()
        for _ in range(2)
    ]
    params = {"batch_size": shape.batch, "max_iter": max_iter, "precision": precision}
    with stopwatch() as training:
        saes = [
            TopKSAE(shape.m, shape.k, **params, random_state=seed).fit(X)
            for seed, X in enumerate(views)
        ]
    frozen = [FrozenEstimator(sae) for sae in saes]
    with stopwatch() as matching:
        PostHocAlignedSAE(x_sae=frozen[0], y_sae=frozen[1], random_state=0).fit(*views)
    n_steps = 2 * max_iter * -(-n_rows // shape.batch)
    floor = n_steps * floor_seconds(shape, *measure_device(shape, precision))
    return {
        "training_seconds": training["seconds"],
        "matching_seconds": matching["seconds"],
        "floor_seconds": floor,
        "ratio_to_floor": training["seconds"] / floor,
    }


def floor_seconds(shape, flops_per_second, bytes_per_second):
    """Least seconds of a step: the encoder product, and what memory must carry.

    Rows are read, pre-activations written and read, gradients written, and Adam reads
    weights, gradients and two moments and writes all but the gradients.
    """
    entries = shape.batch * (shape.d + 2 * shape.m) + 8 * shape.n_parameters
    flops = 2 * shape.batch * shape.d * shape.m
    return flops / flops_per_second + 4 * entries / bytes_per_second


def measure_device(shape, precision, repeats=50):
    """Operations a second of the encoder product, and bytes a second of a copy."""
    low = {"bf16": torch.bfloat16, "screen": torch.bfloat16, "int8": torch.int8}
    dtype = low.get(precision, torch.float32)
    rows = torch.ones(shape.batch, shape.d, device=DEVICE).to(dtype)
    encoder = torch.ones(shape.m, shape.d, device=DEVICE).to(dtype)
    source = torch.zeros(2**28 if DEVICE == "cuda" else 2**24, device=DEVICE)
    target = torch.empty_like(source)
    product = torch._int_mm if dtype is torch.int8 else torch.mm
    with _tf32(precision == "tf32"):
        product_seconds = _mean_seconds(lambda: product(rows, encoder.T), repeats)
    copy_seconds = _mean_seconds(lambda: target.copy_(source), repeats)
    n_bytes = 2 * source.numel() * source.element_size()
    n_operations = 2 * shape.batch * shape.d * shape.m
    return n_operations / product_seconds, n_bytes / copy_seconds


@contextlib.contextmanager
def _tf32(allowed):
    """Whether float32 products on a GPU may round their factors to TF32."""
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, allowed
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def _mean_seconds(call, repeats):
    call()
    _synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronize()
    return (time.perf_counter() - start) / repeats


def tabulate(fits):
    """A table of each measure, rows in the order in which they were taken."""
    rows = {}
    for fit in fits:
        measure = fit["key"]["measure"]
        rows.setdefault(measure, []).extend(_ROWS.get(measure, _row)(fit))
    return {measure: pd.DataFrame(of_one) for measure, of_one in rows.items()}


def _rows_of_steps(fit):
    """Median step of each program and its ratio to ours, with an interval.

    Of processor seconds too, which on a busy machine are the ones to look at, if there
    is one thread: others spend them on waiting.
    """
    seconds = {name: np.array(taken) for name, taken in fit["seconds"].items()}
    cpu = fit["cpu_seconds"]
    reference = OURS if OURS in seconds else next(iter(seconds))
    ours = seconds[reference]
    rng = np.random.default_rng(0)
    draws = rng.integers(len(ours), size=(2000, len(ours)))
    for name, taken in seconds.items():
        ratios = np.median(taken[draws], axis=1) / np.median(ours[draws], axis=1)
        low, high = interval(ratios)
        yield {
            "shape": fit["key"]["shape"],
            "program": name,
            "ms": 1e3 * np.median(taken),
            "ratio": np.median(taken) / np.median(ours),
            "low": low,
            "high": high,
            "cpu_ratio": np.median(cpu[name]) / np.median(cpu[reference]),
        }


def _rows_of_memory(fit):
    """Peak of a program; the seconds were taken alone and are not compared."""
    yield {
        "shape": fit["key"]["shape"],
        "program": fit["key"]["program"],
        "peak_mib": fit["peak_mib"],
        "state_mib": fit["state_mib"],
    }


def _rows_of_large(fit):
    """Peak of memory and the median step."""
    for row in _rows_of_memory(fit):
        yield row | {"ms": 1e3 * np.median(fit["seconds"])}


def _row(fit):
    """All numbers of a measurement, beside what its key tells apart."""
    names = ("shape", "program", "seed", "precision")
    row = {name: fit["key"][name] for name in names if name in fit["key"]}
    numbers = (name for name, value in fit.items() if isinstance(value, (int, float)))
    yield row | {name: fit[name] for name in numbers}


_ROWS = {"steps": _rows_of_steps, "memory": _rows_of_memory, "large": _rows_of_large}


def _figures(tables):
    """The ratios, in a few words; milliseconds do not travel."""
    if "steps" not in tables:
        return ", ".join(tables)
    return "; ".join(
        f"{shape}: "
        + ", ".join(f"{name} {ratio:.2f}" for name, ratio in rows.itertuples(False))
        for shape, rows in tables["steps"].groupby("shape", sort=False)[
            ["program", "ratio"]
        ]
    )


def plot(tables, folder):
    """Bars of step times and of peak memory, a row of panels for each shape."""
    from matplotlib.figure import Figure

    panels = {"steps": ("ms", "step, ms"), "memory": ("peak_mib", "peak memory, MiB")}
    panels = {name: panel for name, panel in panels.items() if name in tables}
    by_shape = {name: tables[name].groupby("shape", sort=False) for name in panels}
    shapes = list(next(iter(by_shape.values())).groups)
    longest = max(tables[name]["program"].nunique() for name in panels)
    size = 2 + 3.2 * len(panels), (0.25 * longest + 0.9) * len(shapes)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(shapes), len(panels), sharey="row", squeeze=False)
    for of_shape, shape in zip(axes, shapes, strict=True):
        order = None
        for ax, (name, (column, label)) in zip(of_shape, panels.items(), strict=True):
            values = by_shape[name].get_group(shape).set_index("program")[column]
            order = values.sort_values().index if order is None else order
            _draw_bars(ax, values.reindex(order))
            ax.set_xlabel(label)
        d, m, k, batch = Shape.of(shape)
        title = (
            f"d {d}, {m:,} latents, k {k}, batch {batch:,}\nnumbers: times ours float32"
        )
        of_shape[0].set_title(title, loc="left", fontsize=10)
        of_shape[0].invert_yaxis()
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"training.{suffix}", dpi=150)


_COLORS = {"ours": "#1f77b4", "encoder": "#d9a0a0"}


def _draw_bars(ax, values):
    """A bar for each program that has a value, with its ratio to ours."""
    ours = values.get(OURS, values.min())
    names = [name.replace("_", " ") for name in values.index]
    colors = [_COLORS.get(name.partition("_")[0], "#b8b8b8") for name in values.index]
    ax.barh(names, values, color=colors)
    for row, value in enumerate(values):
        if np.isfinite(value):
            ax.text(value, row, f" {value / ours:.2f}", va="center", fontsize=8)
    ax.set_xlim(0, 1.15 * values.max())
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
