"""Reconstruction losses and alignment terms by name."""

from collections.abc import Callable
from functools import cached_property

import torch

from skxsae._distributed import ALONE, Peers
from skxsae._functional import to_dense, values_at
from skxsae._picking import Codes


def total_variance(rows: torch.Tensor) -> torch.Tensor:
    """Squared distance to the mean, summed over the batch; never zero."""
    return Batch([rows]).variances[0]


class Batch:
    """Rows of each view, and what is known of those of all processes together."""

    def __init__(
        self,
        rows: list[torch.Tensor],
        peers: Peers = ALONE,
        lengths: list[int] | None = None,
    ):
        self.rows, self.peers = rows, peers
        lengths = lengths or peers.lengths(len(rows[0]))
        self.n_rows = sum(lengths)
        before = sum(lengths[: peers.rank])
        self.own = slice(before, before + len(rows[0]))

    @property
    def share(self) -> float:
        """Share of the rows that this process has."""
        return len(self.rows[0]) / self.n_rows

    @cached_property
    def variances(self) -> list[torch.Tensor]:
        """Squared distance to the mean, summed over the rows, of each view; never 0."""
        sums = self.peers.totals([rows.sum(0) for rows in self.rows])
        pairs = [
            torch.stack(
                [(rows - total / self.n_rows).square().sum(), rows.square().sum()]
            )
            for rows, total in zip(self.rows, sums, strict=True)
        ]
        return [self._variance(*pair) for pair in self.peers.totals(pairs)]

    def _variance(self, variance: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
        """A variance, or the power if only the rounding of equal rows is left."""
        is_real = variance > torch.finfo(variance.dtype).eps * power
        variance = torch.where(is_real, variance, power)
        return variance.masked_fill(variance == 0, 1.0)


def fvu(residual: torch.Tensor, batch: Batch, view: int) -> torch.Tensor:
    """Squared error divided by the total variance of the batch."""
    return residual.square().sum() / batch.variances[view]


def mse_sum(residual: torch.Tensor, batch: Batch, view: int) -> torch.Tensor:
    """Squared error summed over features, averaged over rows."""
    return residual.square().sum() / batch.n_rows


def mse_mean(residual: torch.Tensor, batch: Batch, view: int) -> torch.Tensor:
    """Squared error averaged over features and rows."""
    return residual.square().sum() / (batch.n_rows * residual.shape[1])


# the part of this process: those of all processes add up
LOSSES: dict[str, Callable[[torch.Tensor, Batch, int], torch.Tensor]] = {
    "fvu": fvu,
    "mse_sum": mse_sum,
    "mse_mean": mse_mean,
}


def _row_norms(values: torch.Tensor) -> torch.Tensor:
    """Norm of each row, whose gradient is zero at zero."""
    squares = values.square().sum(1)
    empty = squares == 0
    return squares.masked_fill(empty, 1.0).sqrt().masked_fill(empty, 0.0)


def iso_energy(x: Codes, y: Codes) -> torch.Tensor:
    """Minus the mean cosine of paired codes; the cosine with a zero code is 0.

    Equation 1 of the iso-energy paper.
    """
    dots = (x[0] * values_at(*y, wanted=x[1])).sum(1)
    norms = _row_norms(x[0]) * _row_norms(y[0])
    return -(dots / norms.masked_fill(norms == 0, 1.0)).mean()


def inner_product(x: Codes, y: Codes) -> torch.Tensor:
    """Minus the mean inner product of paired codes.

    The form that Proposition 2 of the heterogeneity paper analyses.
    """
    return -(x[0] * values_at(*y, wanted=x[1])).sum(1).mean()


def _without_top(codes: Codes, *tops: torch.Tensor) -> Codes:
    """Codes whose latents `tops` (one per row) are set to zero."""
    values, indices = codes
    for top in tops:
        values = values.masked_fill(indices == top, 0.0)
    return values, indices


def iso_energy_masked(x: Codes, y: Codes) -> torch.Tensor:
    """`iso_energy` after the top-1 latent of either view is removed from both codes.

    The form of the released code, in every run.
    """
    tops = [
        indices.gather(1, values.abs().argmax(1, keepdim=True))
        for values, indices in (x, y)
    ]
    return iso_energy(_without_top(x, *tops), _without_top(y, *tops))


def group_sparse(x: Codes, y: Codes) -> torch.Tensor:
    """Norm of each latent's pair of values, summed over latents, averaged over rows.

    Equation 10 of the heterogeneity paper; the subgradient at (0, 0) is 0.
    """
    both = x[0].square() + values_at(*y, wanted=x[1]).square()
    off = (x[0] == 0) | (both == 0)
    in_x = both.masked_fill(off, 1.0).sqrt().masked_fill(off, 0.0)
    counted = (y[0] == 0) | (values_at(*x, wanted=y[1]) != 0)
    only_y = y[0].abs().masked_fill(counted, 0.0)
    return (in_x.sum() + only_y.sum()) / len(x[0])


ALIGNMENTS: dict[str, Callable[[Codes, Codes], torch.Tensor]] = {
    "iso_energy": iso_energy,
    "iso_energy_masked": iso_energy_masked,
    "inner_product": inner_product,
    "group_sparse": group_sparse,
}

# published weights against the sum of the two views' FVU: iso-energy 1e-4 and
# group-sparse 0.05 were quoted against their mean
PUBLISHED_WEIGHTS = {"iso_energy": 2e-4, "iso_energy_masked": 2e-4, "group_sparse": 0.1}


def dense_alignment(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], n_latents: int
) -> Callable[[Codes, Codes], torch.Tensor]:
    """A user's function of two dense (batch, m) codes, as a function of sparse ones."""

    def alignment(x: Codes, y: Codes) -> torch.Tensor:
        term = function(to_dense(*x, n_latents), to_dense(*y, n_latents))
        if term.ndim:
            raise ValueError(
                f"alignment returned a tensor of shape {tuple(term.shape)}, but must "
                "return one number: take the mean over rows."
            )
        return term

    return alignment
