"""Which latents fire while an autoencoder is trained."""

import math
from dataclasses import dataclass

import torch

from skxsae._distributed import ALONE, Peers
from skxsae._picking import Codes

_THRESHOLD_DECAY = 0.99
_FIRST_PENALTY = 0.1
_PROPORTIONAL_GAIN = 3.0
_INTEGRAL_GAIN = 0.05
_LARGEST_LOG_PENALTY = 20.0


@dataclass
class Activity:
    """Which latents fired, and since when they are silent, without a look at them."""

    counts: torch.Tensor  # (n_views, m) firings since `forget`
    n_encoded: torch.Tensor  # (n_views,) rows since `forget`
    silent: torch.Tensor  # (m,) rows since the last firing in any view
    threshold: torch.Tensor  # (n_views,) moving average of the smallest kept values
    threshold_weight: torch.Tensor
    log_penalty: torch.Tensor  # integral part of the weight that steers the L0
    log_excess: torch.Tensor  # log of the last L0 over k

    @classmethod
    def start(cls, n_views: int, n_latents: int, device: torch.device | str):
        """Nothing has fired yet."""

        def zeros(*shape, dtype=torch.float64):
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            zeros(n_views, n_latents, dtype=torch.long),
            zeros(n_views, dtype=torch.long),
            zeros(n_latents, dtype=torch.long),
            zeros(n_views),
            zeros(n_views),
            zeros() + math.log(_FIRST_PENALTY),
            zeros(),
        )

    def forget(self) -> None:
        """Start to count anew."""
        self.counts.zero_()
        self.n_encoded.zero_()

    def firing_rate(self) -> torch.Tensor:
        """Share of the rows on which each latent fired: (n_views, m)."""
        return self.counts / self.n_encoded.clamp_min(1)[:, None]

    def update(
        self, codes: list[Codes | None], n_rows: int, peers: Peers = ALONE
    ) -> None:
        """Count the firings of a batch of `n_rows` rows of each view."""
        fired = torch.zeros_like(self.counts)
        for view, code in enumerate(codes):
            if code is not None:
                values, indices = code
                active = (values != 0).long().flatten()
                fired[view].scatter_add_(0, indices.flatten(), active)
                self.n_encoded[view] += n_rows
        fired = peers.total(fired)
        self.counts += fired
        self.silent += n_rows
        self.silent.masked_fill_(fired.sum(0) > 0, 0)

    def average_threshold(
        self, codes: list[Codes | None], peers: Peers = ALONE
    ) -> None:
        """Bias-corrected moving average of the smallest kept value of each batch.

        Views that are encoded together share it.
        """
        encoded = [code is not None for code in codes]
        values = torch.cat([code[0].flatten() for code in codes if code is not None])
        smallest = peers.least(values.where(values > 0, torch.inf).min()).double()
        some = torch.tensor(encoded, device=values.device) & smallest.isfinite()
        weight = _THRESHOLD_DECAY * self.threshold_weight + 1
        moved = self.threshold + (smallest - self.threshold) / weight
        self.threshold.copy_(torch.where(some, moved, self.threshold))
        self.threshold_weight.copy_(torch.where(some, weight, self.threshold_weight))

    def steer(self, codes: list[Codes | None], k: int, peers: Peers = ALONE) -> None:
        """Note by how much more than `k` latents are active on average."""
        counts = [(code[0] != 0).sum(1) for code in codes if code is not None]
        n_active = torch.cat(counts).sum()
        sums = torch.stack([n_active, n_active.new_tensor(sum(map(len, counts)))])
        total, n_rows = peers.total(sums).double()
        mean = total / n_rows
        self.log_excess.copy_(torch.log(mean.clamp_min(0.1) / k).clamp(-2.0, 2.0))
        self.log_penalty += _INTEGRAL_GAIN * self.log_excess
        self.log_penalty.clamp_(-_LARGEST_LOG_PENALTY, _LARGEST_LOG_PENALTY)

    def penalty_weight(self) -> torch.Tensor:
        """Weight of the penalty, by proportional and integral control."""
        return (self.log_penalty + _PROPORTIONAL_GAIN * self.log_excess).exp()
