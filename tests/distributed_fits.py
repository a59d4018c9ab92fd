"""What processes of a group do in test_distributed."""

import itertools
import os
import signal
import tempfile
from functools import partial
from unittest import mock

import numpy as np
import torch.distributed as dist
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from skxsae import (
    Checkpoint,
    CoactivationMatcher,
    PairedSAE,
    PostHocAlignedSAE,
    StopOnInterrupt,
    TopKSAE,
)
from skxsae._distributed import peers
from skxsae._validation import distinct_rows
from skxsae.baselines import SparseBaseline
from skxsae.datasets import DiskArray
from skxsae.metrics import retrieval_ranks

N_ROWS, N_FEATURES = 87, 8  # batches of odd numbers of rows
ACTIVATIONS = ["topk", "batch_topk", "relu", "jumprelu", "matching_pursuit"]
COUPLINGS = ["shared", "cross_reconstruction", "global_topk", "crosscoder"]
LOSSES = ["fvu", "mse_sum", "mse_mean"]
TERMS = ["iso_energy", "iso_energy_masked", "inner_product", "group_sparse"]


def paired_rows(n_rows=N_ROWS, dtype=np.float64, seed=0):
    """Rows of two views that share concepts."""
    rng = np.random.default_rng(seed)
    strength = rng.random((n_rows, 12)) * (rng.random((n_rows, 12)) < 0.3)
    return [
        (strength @ rng.standard_normal((12, N_FEATURES)) + 1).astype(dtype)
        for _ in range(2)
    ]


def mean_square_distance(x, y):
    """An alignment term of a user, a mean over rows."""
    return (x - y).square().sum(1).mean()


def scenarios():
    """Estimators by name; batches are not divisible by numbers of processes."""
    common = {
        "n_latents": 40,
        "k": 3,
        "max_iter": 2,
        "batch_size": 31,
        "learning_rate": 2e-3,
        "random_state": 0,
        "device": "cpu",
    }
    estimators = {}
    losses = itertools.cycle(LOSSES)
    for activation in ACTIVATIONS:
        loss = next(losses)
        estimators[f"{activation} {loss}"] = TopKSAE(
            activation=activation, loss=loss, **common
        )
        for coupling in COUPLINGS:
            if coupling == "global_topk" and activation != "topk":
                continue
            loss = next(losses)
            estimators[f"{activation} {coupling} {loss}"] = PairedSAE(
                activation=activation,
                coupling=coupling,
                loss=loss,
                alignment="none",
                **common,
            )
    for term, activation in zip(TERMS, ACTIVATIONS, strict=False):
        estimators[f"{activation} {term} masked"] = PairedSAE(
            activation=activation,
            alignment=term,
            alignment_weight=0.1,
            mask_rate=0.3,
            statistics="pooled",
            **common,
        )
    estimators["a term of the user"] = PairedSAE(
        alignment=mean_square_distance, alignment_weight=0.1, **common
    )
    for normalize in ("center", "l2", "center_l2", "standard", None):
        estimators[f"normalize {normalize}"] = TopKSAE(
            normalize=normalize, schedule="constant", fit_intercept=False, **common
        )
    for precision in ("screen", "bf16", "int8"):
        estimators[precision] = TopKSAE(
            precision=precision, activation="batch_topk", **common
        )
    return estimators


def parts_of(estimator):
    """Fitted arrays of an estimator by name, of both views if it has two."""
    saes = (
        [estimator.x_sae_, estimator.y_sae_]
        if hasattr(estimator, "x_sae_")
        else [estimator]
    )
    return {
        f"{name}{number}": np.asarray(value)
        for number, sae in enumerate(saes)
        for name, value in vars(sae).items()
        if name.endswith("_") and not name.startswith("_")
    }


def fits(dtype=np.float64, every=1, device="cpu"):
    """Fitted arrays of all scenarios, or of one in so many."""
    X, y = paired_rows(dtype=dtype)
    fitted = {}
    for name, sae in list(scenarios().items())[::every]:
        sae.set_params(device=device)
        sae.fit(X) if isinstance(sae, TopKSAE) else sae.fit(X, y)
        fitted[name] = parts_of(sae)
    return fitted


def fits_in_float32():
    """Fitted arrays of half of the scenarios."""
    return fits(np.float32, 2)


def some_fits():
    """Fitted arrays of a few scenarios."""
    return fits(every=4)


def some_fits_on_gpus():
    """Fitted arrays of a few scenarios, each process on a GPU of its own."""
    os.environ["LOCAL_RANK"] = str(dist.get_rank())
    return fits(every=4, device="auto")


def small(**changes):
    """An estimator that is fitted fast."""
    params = {"n_latents": 24, "k": 2, "max_iter": 3, "batch_size": 20, **changes}
    return TopKSAE(device="cpu", **params)


def message_of(action):
    """What an action that is refused says, with the kind of the error."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def refusals():
    """What each process says of data that cannot be fitted, or not together."""
    X, y = paired_rows()
    rank = dist.get_rank()
    with_nan, other = X.copy(), X.copy()
    with_nan[70, 3] = np.nan
    other[0, 0] += rank
    sae = small(random_state=0)
    paired = PairedSAE(24, 2, max_iter=2, random_state=0, device="cpu")
    post_hoc = PostHocAlignedSAE(24, 2, max_iter=2, random_state=0, device="cpu")
    own_nan = with_nan if rank == 1 else X
    wider = np.hstack([X, X]) if rank == 1 else X
    groups = np.arange(N_ROWS) // 2
    constant = np.zeros(N_ROWS) if rank == 1 else groups
    streamed = DiskArray(X, buffer_bytes=X.nbytes // 3, block_rows=4 + rank)
    fitted = clone(post_hoc).fit(X, y)
    frozen = [FrozenEstimator(small().fit(view)) for view in (X, np.hstack([X, X]))]
    states = Checkpoint(__file__)  # no folder
    failing = StopAfter(2 if rank else 9, fails=True)
    actions = {
        "a NaN": lambda: sae.fit(with_nan),
        "a NaN in one process": lambda: sae.fit(own_nan),
        "a NaN in the second view": lambda: paired.fit(X, with_nan),
        "a NaN in a view to align": lambda: post_hoc.fit(X, with_nan),
        "fewer rows in one process": lambda: sae.fit(X[: N_ROWS - rank]),
        "wider in one process": lambda: paired.fit(X, wider),
        "other numbers": lambda: sae.fit(other),
        "another type": lambda: sae.fit(X.astype([np.float64, np.float32][rank])),
        "other parameters": lambda: small(k=2 + rank).fit(X),
        "another matcher": lambda: PostHocAlignedSAE(
            24, 2, matcher=CoactivationMatcher(min_fires=1 + rank)
        ).fit(X, y),
        "other groups": lambda: post_hoc.fit(X, y, groups=constant),
        "one group": lambda: post_hoc.fit(X, y, groups=np.zeros(N_ROWS)),
        "other blocks": lambda: sae.fit(streamed),
        "a frozen view of one process": lambda: PostHocAlignedSAE(
            x_sae=frozen[rank], y_sae=sae
        ).fit(X, y),
        "a given view of one process": lambda: PostHocAlignedSAE(
            24, 2, x_sae=sae if rank == 1 else None
        ).fit(X, y),
        "no such device": lambda: (
            clone(sae).set_params(device="cuda:99" if rank == 1 else "cpu").fit(X)
        ),
        "a NaN to realign": lambda: fitted.realign(X, own_nan),
        "other groups to realign": lambda: fitted.realign(X, y, groups=constant),
        "other numbers to realign": lambda: fitted.realign(other, y),
        "one group to realign": lambda: fitted.realign(X, y, groups=np.zeros(N_ROWS)),
        "rows of groups": lambda: distinct_rows(
            Unreadable() if rank == 1 else X, groups, peers()
        ),
        "no data": lambda: sae.fit(None if rank == 1 else X),
        "no loss": lambda: small(learning_rate=1e30, random_state=0).fit(X),
        "a callback that fails": lambda: small().set_callbacks(failing).fit(X),
        "no folder": lambda: small().set_callbacks(states).fit(X),
    }
    for model in (small(), post_hoc):
        for hook, number in HOOKS[type(model)]:
            failing = FailsAt(hook if rank == 1 else None, number)
            name = f"{type(model).__name__}: {hook} {number}"
            actions[name] = partial(clone(model).set_callbacks(failing).fit, X, y)
    said = {name: message_of(action) for name, action in actions.items()}
    return {**said, "afterwards": parts_of(small(random_state=0).fit(X))}


def seeds():
    """Dictionaries of fits one after the other, and what NumPy draws after them."""
    X, _ = paired_rows()
    np.random.seed(dist.get_rank())  # noqa: NPY002
    unseeded = [small().fit(X).components_ for _ in range(2)]
    given = np.random.RandomState(0)
    seeded = [small(random_state=given).fit(X).components_ for _ in range(2)]
    own = small(random_state=dist.get_rank()).fit(X).components_
    return unseeded, seeded, own, np.random.random()  # noqa: NPY002


class Unreadable:
    """Rows on a disk that is broken."""

    shape, dtype = (N_ROWS, N_FEATURES), np.dtype(float)

    def __getitem__(self, rows):
        raise OSError("the disk is broken")


# where a callback is called outside of a pass, and how many calls come before
HOOKS = {
    TopKSAE: [("setup", 1), ("begin", 1), ("begin", 2), ("end", 4)],
    PostHocAlignedSAE: [
        ("setup", 1),
        ("begin", 1),
        ("begin", 2),
        ("begin", 3),
        ("end", 1),
        ("end", 3),
    ],
}


class FailsAt:
    """Callback that fails when it is told something for the so-and-so-manieth time."""

    def __init__(self, hook, number):
        self.hook, self.number = hook, number

    def _count(self, hook):
        self.seen.append(hook)
        if hook == self.hook and self.seen.count(hook) == self.number:
            raise ValueError(f"a callback has failed in {hook} {self.number}")

    def setup(self, estimator, context):
        self.seen = []
        self._count("setup")

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self._count("begin")

    def on_fit_task_end(self, estimator, context):
        self._count("end")


class StopAfter:
    """Callback that stops a fit after some passes."""

    max_propagation_depth = None

    def __init__(self, n_passes, interrupts=False, fails=False):
        self.n_passes, self.interrupts, self.fails = n_passes, interrupts, fails

    def setup(self, estimator, context):
        self.n_seen = 0

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.n_seen += 1
        is_time = self.n_seen == self.n_passes
        if is_time and self.fails:
            raise ValueError("a callback has failed")
        if is_time and self.interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        return is_time and not self.interrupts


def explained(estimator, X, y):
    """A score for ScoringMonitor."""
    return {"explained": estimator.score(X)}


def callbacks():
    """Numbers of passes under callbacks of one process or of both."""
    X, _ = paired_rows()
    rank = dist.get_rank()

    def n_passes(*in_first, others=()):
        sae = small(max_iter=5, random_state=0)
        return sae.set_callbacks(*(in_first if rank == 0 else others)).fit(X).n_iter_

    monitor = ScoringMonitor(scoring=explained)
    with tempfile.TemporaryDirectory() as folder:
        counts = {
            "stop in the first": n_passes(StopAfter(2)),
            "stop in the second": n_passes(others=[StopAfter(3)]),
            "interrupt in the second": n_passes(
                others=[StopOnInterrupt(), StopAfter(2, interrupts=True)]
            ),
            "monitor in the first": n_passes(monitor),
            "monitor in both": n_passes(monitor, others=[monitor]),
            "states in the first": n_passes(Checkpoint(folder, 0)),
            "states in the second": n_passes(others=[Checkpoint(folder, 0)]),
            "states in both": n_passes(
                Checkpoint(folder, 0), others=[Checkpoint(folder, 0)]
            ),
        }
        return counts, os.listdir(folder)


def resumed():
    """A fit that goes on from a state that the first process alone knows of."""
    X, _ = paired_rows()
    sae = small(max_iter=5, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        in_first = [Checkpoint(folder, 0)] if dist.get_rank() == 0 else []
        sae.set_callbacks(*in_first, StopAfter(3, fails=True))
        said = message_of(lambda: sae.fit(X))
        n_states = len(os.listdir(folder))
        return said, n_states, parts_of(sae.set_callbacks(*in_first).fit(X))


_COLLECTIVES = (
    "all_reduce",
    "all_gather",
    "broadcast",
    "all_gather_object",
    "broadcast_object_list",
)


def alone():
    """What the first process does alone after a fit, with nothing to say to others."""
    X, y = paired_rows()
    sae = PairedSAE(24, 2, max_iter=2, random_state=0, device="cpu").fit(X, y)
    if dist.get_rank() != 0:
        return None
    refused = mock.Mock(side_effect=AssertionError("a message to other processes"))
    with mock.patch.multiple(dist, **dict.fromkeys(_COLLECTIVES, refused)):
        codes = sae.transform(X, y)
        CoactivationMatcher(min_fires=1, random_state=0).fit(*codes)
        SparseBaseline("pca", n_latents=4, k=2, random_state=0).fit(X).score(X)
        small(random_state=0).partial_fit(X).transform(X)
        PairedSAE(24, 2, batch_size=20, random_state=0).partial_fit(X, y)
        sae.x_sae_.inverse_transform(codes[0])
        retrieval_ranks(*codes)
        return sae.score(X, y)


def searched():
    """Scores of a grid search whose fits are all made together."""
    X, _ = paired_rows()
    search = GridSearchCV(small(random_state=0), {"k": [1, 3]}, cv=2).fit(X)
    return search.cv_results_["mean_test_score"]


def aligned():
    """Arrays of an aligned pair, whose views are seen in groups."""
    X, y = paired_rows(240)
    groups = np.arange(240) // 2
    X = X[groups * 2]
    matcher = CoactivationMatcher(min_fires=1, n_null=0)
    sae = PostHocAlignedSAE(
        24, 2, max_iter=4, random_state=0, device="cpu", matcher=matcher
    ).fit(X, y, groups=groups)
    return {**parts_of(sae), "matching": sae.matcher_.matching_}


def two_rows():
    """A fit on as many rows as there are processes."""
    return parts_of(small(random_state=0).fit(paired_rows()[0][:2]))


def streamed():
    """Fits on rows of which a process holds a few at a time."""
    views = [
        DiskArray(view, buffer_bytes=view.nbytes // 3, block_rows=4)
        for view in paired_rows(600)
    ]
    sae = PairedSAE(24, 2, max_iter=3, batch_size=64, random_state=0, device="cpu")
    return parts_of(sae.fit(*views))


def forty_steps(*callbacks):
    """Fitted arrays of a streamed fit of so many steps."""
    views = [
        DiskArray(view, buffer_bytes=view.nbytes // 2, block_rows=3)
        for view in paired_rows(400)
    ]
    sae = PairedSAE(
        24,
        2,
        activation="batch_topk",
        mask_rate=0.2,
        max_iter=4,
        batch_size=40,
        random_state=0,
        device="cpu",
    )
    return parts_of(sae.set_callbacks(*callbacks).fit(*views))


def meeting():
    """All of it, in one group."""
    parts = (
        fits,
        fits_in_float32,
        refusals,
        seeds,
        callbacks,
        resumed,
        alone,
        searched,
        aligned,
        two_rows,
        streamed,
        forty_steps,
    )
    return {part.__name__: part() for part in parts}


def four():
    """What is tried with four processes."""
    few = paired_rows()[0][:3]
    said = message_of(lambda: small(random_state=0).fit(few))
    return {"too few rows": said, "fits": some_fits()}
