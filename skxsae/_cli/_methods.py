"""The methods that are compared, at the same number of parameters.

A dictionary for each view has `n_latents`; a dictionary shared by both has twice as
many. `k` is the same for all.
"""

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from skxsae._cli._data import take
from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._fitting import resolve_n_latents
from skxsae._paired_sae import PairedSAE
from skxsae._post_hoc_aligned_sae import PostHocAlignedSAE
from skxsae._topk_sae import TopKSAE

SHARED = ("shared", "iso_energy", "group_sparse")
CONTROLS = ("dense", "reconstruction")


@dataclass
class Fit:
    """A fitted method as the table sees it: codes of each view and what they cost."""

    encode_x: object  # rows of X -> codes
    encode_y: object
    x_sae: TopKSAE | None = None
    y_sae: TopKSAE | None = None
    models: dict = field(default_factory=dict)  # file name -> estimator
    n_dead: int | None = None
    n_latents: int | None = None
    n_matched: int | None = None
    n_above_noise: int | None = None
    seconds: float | None = None


class Fitter:
    """Fits methods by name on the training pairs, the separate dictionaries once."""

    def __init__(self, pairs, settings, progress):
        self.pairs, self.settings, self.progress = pairs, settings, progress
        self.groups = pairs.groups[pairs.train]

    @cached_property
    def views(self):
        """Rows of both views, pair by pair."""
        pairs = self.pairs
        return take(pairs.X, pairs.x_rows[pairs.train]), take(pairs.y, pairs.train)

    @cached_property
    def separate_saes(self):
        """An autoencoder of each view in its own order, and the seconds they took."""
        pairs, start = self.pairs, time.perf_counter()
        x_rows, _ = pairs.x_rows_of(pairs.train)
        saes = [
            self._fitted(TopKSAE(**self._params(seed)), rows)
            for seed, rows in enumerate((take(pairs.X, x_rows), self.views[1]))
        ]
        return *saes, time.perf_counter() - start

    def _params(self, offset=0, factor=1):
        """Parameters of an autoencoder."""
        settings = self.settings
        return {
            **settings.training,
            "n_latents": factor * settings.n_latents,
            "k": settings.k,
            "max_iter": settings.max_iter,
            "device": settings.device,
            "random_state": (settings.seed + offset) % 2**32,
        }

    def _fitted(self, estimator, *arrays, **params):
        """An estimator, fitted under a progress bar that does not stay with it."""
        estimator.set_callbacks(*self.progress.callbacks())
        estimator.fit(*arrays, **params)
        return estimator.set_callbacks()

    def fit(self, name):
        """One method."""
        return METHODS[name](self, name)

    def shared(self, name):
        """One dictionary for both views, with or without an alignment term."""
        start = time.perf_counter()
        alignment = "none" if name == "shared" else name
        sae = PairedSAE(alignment=alignment, **self._params(factor=2))
        sae = self._fitted(sae, *self.views)
        dead = sae.x_sae_.dead_latents_ & sae.y_sae_.dead_latents_
        return Fit(
            sae.x_sae_.transform,
            sae.y_sae_.transform,
            sae.x_sae_,
            sae.y_sae_,
            models={name: sae},
            n_dead=int(dead.sum()),
            n_latents=len(dead),
            seconds=time.perf_counter() - start,
        )

    def separate(self, name):
        """A dictionary for each view, in the order in which each was trained."""
        x_sae, y_sae, seconds = self.separate_saes
        dead = np.append(x_sae.dead_latents_, y_sae.dead_latents_)
        return Fit(
            x_sae.transform,
            y_sae.transform,
            x_sae,
            y_sae,
            models={f"{name}_x": x_sae, f"{name}_y": y_sae},
            n_dead=int(dead.sum()),
            n_latents=len(dead),
            seconds=seconds,
        )

    @cached_property
    def aligned(self):
        """The separate dictionaries aligned one to one, and the seconds of that."""
        return self._aligned("hungarian")

    def _aligned(self, assignment):
        """The separate dictionaries under an assignment, and the seconds of that."""
        x_sae, y_sae, _ = self.separate_saes
        start = time.perf_counter()
        matcher = CoactivationMatcher(
            assignment=assignment, random_state=self.settings.seed
        )
        sae = PostHocAlignedSAE(
            x_sae=FrozenEstimator(x_sae), y_sae=FrozenEstimator(y_sae), matcher=matcher
        ).fit(*self.views, groups=self.groups)
        return sae, time.perf_counter() - start

    def post_hoc(self, name):
        """The separate dictionaries, aligned by co-activation on the training pairs."""
        separate = self.separate("separate")
        sae, seconds = self.aligned if name == "post_hoc" else self._aligned("soft")
        return Fit(
            sae.x_sae_.transform,
            sae.y_sae_.transform,
            sae.x_sae_,
            sae.y_sae_,
            models={name: sae},
            n_dead=separate.n_dead,
            n_latents=separate.n_latents,
            n_matched=len(sae.matches_),
            n_above_noise=int(sae.matches_["above_noise"].sum()),
            seconds=separate.seconds + seconds,
        )

    def dense(self, name):
        """Control: the embeddings themselves."""
        return Fit(np.asarray, np.asarray)

    def reconstruction(self, name):
        """Control: what the separate dictionaries make of the embeddings."""
        x_sae, y_sae, _ = self.separate_saes

        def rebuild(sae):
            return lambda rows: sae.inverse_transform(sae.transform(rows))

        return Fit(rebuild(x_sae), rebuild(y_sae), x_sae, y_sae)


METHODS = {
    "shared": Fitter.shared,
    "iso_energy": Fitter.shared,
    "group_sparse": Fitter.shared,
    "separate": Fitter.separate,
    "post_hoc": Fitter.post_hoc,
    "soft": Fitter.post_hoc,
    "dense": Fitter.dense,
    "reconstruction": Fitter.reconstruction,
}


@contextmanager
def torch_threads(n_threads):
    """Let torch use some number of threads for a while, if that is not None."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def warm_up(device):
    """Fit something tiny, as torch spends seconds on its first steps."""
    TopKSAE(2, 1, max_iter=1, device=device, random_state=0).fit(np.eye(4))


@dataclass(frozen=True)
class Settings:
    """Sizes of the models and how they are trained."""

    n_latents: int
    k: int
    max_iter: int | str
    device: str
    seed: int
    training: dict  # further parameters of the autoencoders
    n_threads: int | None  # of torch; None leaves it alone


def resolve_settings(arguments, pairs):
    """Settings from the arguments, then from what suits the pairs."""
    names = ("n_latents", "k", "max_iter")
    given = {name: getattr(arguments, name) for name in names}
    chosen = {**pairs.defaults, **{n: v for n, v in given.items() if v is not None}}
    n_latents, k = _resolve_sizes(chosen.get("n_latents"), chosen.get("k"), pairs)
    if k > n_latents and arguments.k is None:
        k = n_latents
    if k > n_latents:
        raise ValueError(
            f"-k {k} is more than the {n_latents} latents of each view; lower -k or "
            "raise --n-latents"
        )
    return Settings(
        n_latents,
        k,
        chosen.get("max_iter", "auto"),
        arguments.device,
        arguments.seed,
        chosen.get("training", {}),
        chosen.get("n_threads"),
    )


def _resolve_sizes(n_latents, k, pairs):
    """Numbers of latents and of active latents; the smaller view decides."""
    if n_latents is None:
        rows, _ = pairs.x_rows_of(pairs.train)
        views = [take(pairs.X, rows), take(pairs.y, pairs.train)]
        n_latents, _ = resolve_n_latents("auto", 1, views)
    return n_latents, k or min(32, max(1, n_latents // 16))
