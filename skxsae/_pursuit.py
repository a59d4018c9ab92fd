"""Pursuit: codes found step by step on a dictionary, in place of an encoder.

`rows` are centred samples (batch, d), and atoms are the rows of a dictionary (m, d), of
unit norm or zero. The correlations of a residual with all atoms follow from rows of the
Gram matrix: a step costs O(m) per sample in matching pursuit and O(k m) in its
orthogonal form, not O(m d). Work goes by blocks of rows. Beyond the Gram matrix,
matching pursuit holds 2 x 2**20 correlations at a time, and the orthogonal form
2 x 2**22, with 2 x k x k numbers for each of its rows, and a second copy of the Gram
matrix if there are many rows.
"""

from typing import NamedTuple

import torch

from skxsae._functional import group_by_latent, sum_by_latent, weighted_sum
from skxsae._picking import Codes, strided_argmax

# a block of rows, or a panel of the Gram matrix, in the second and third level cache
_BLOCK_ENTRIES = 2**20
_BLOCK_ENTRIES_OF_OMP = 2**22
_ROWS_WORTH_PANELS = 512

# features that a dense product gets through while a row of the Gram matrix is added
_FEATURES_PER_ATOM = 8

# multiples of the machine epsilon: a correlation beside the norm of its row, and the
# part of an atom's squared norm that is outside the span of a support
_ROUNDING = 8
_DEPENDENT = 128

# rounds of orthogonal matching pursuit for each latent, against cycles by rounding
_MAX_ROUNDS = 4


def gram(dictionary: torch.Tensor) -> torch.Tensor:
    """Dot products of all pairs of atoms: (m, m)."""
    return dictionary @ dictionary.T


def matching_pursuit(
    rows: torch.Tensor,
    dictionary: torch.Tensor,
    gram: torch.Tensor,
    k: int,
    non_negative: bool = False,
) -> Codes:
    """Codes after `k` greedy steps, each on the atom that the residual is closest to.

    An atom may be picked again, so that fewer than `k` may be active. With
    `non_negative` a step takes the largest correlation in place of the largest
    magnitude, and a row is done when no correlation is positive.
    """
    with torch.no_grad():
        steps = _steps_in_blocks(rows, dictionary, gram, k, non_negative)
        values, indices, _ = _merge(steps, min(k, len(dictionary)))
    return values, indices


def pursue(
    rows: torch.Tensor,
    dictionary: torch.Tensor,
    gram: torch.Tensor,
    k: int,
    non_negative: bool = False,
    hidden: torch.Tensor | None = None,
) -> Codes:
    """`matching_pursuit` with a gradient of the values for rows and dictionary.

    It is that of the unrolled steps with their picks held fixed. The Gram matrix has
    none of its own: its share is part of the dictionary's. Atoms that are `hidden`
    (batch, m) are not picked.
    """
    return _Pursue.apply(rows, dictionary, gram, k, non_negative, hidden)


def orthogonal_matching_pursuit(
    rows: torch.Tensor, dictionary: torch.Tensor, gram: torch.Tensor, k: int
) -> Codes:
    """Non-negative codes, optimal on their support, which grows greedily up to `k`.

    Each round adds the atom with the largest correlation and solves the non-negative
    least squares of the support; an atom whose value becomes 0 leaves and frees its
    slot. A row is done with `k` active atoms, or when no correlation is positive. Atoms
    that depend linearly on the support, up to rounding, are passed over.
    """
    atoms = _Atoms.prepare(dictionary, gram, len(rows))
    with torch.no_grad():
        parts = [
            _orthogonal_block(block, atoms, min(k, len(dictionary)))
            for block in _blocks(rows, len(dictionary), _BLOCK_ENTRIES_OF_OMP)
        ]
    values, indices = map(torch.cat, zip(*parts, strict=True))
    return values, indices


def _blocks(rows: torch.Tensor, width: int, entries: int) -> tuple[torch.Tensor, ...]:
    """Blocks of rows that go with `width` entries each; on a GPU there is one."""
    n_rows = len(rows) if rows.is_cuda else entries // width
    return rows.split(max(1, n_rows))


def _rounding(rows: torch.Tensor) -> torch.Tensor:
    """Correlations of each row that are not told from 0: (batch, 1)."""
    return _ROUNDING * torch.finfo(rows.dtype).eps * rows.norm(dim=1, keepdim=True)


class _Steps(NamedTuple):
    """What each step of matching pursuit picked, and how much of it: (batch, k)."""

    picks: torch.Tensor
    increments: torch.Tensor


def _steps_in_blocks(rows, dictionary, gram, k, non_negative, hidden=None) -> _Steps:
    """Steps of matching pursuit of any number of rows."""
    blocks = _blocks(rows, len(dictionary), _BLOCK_ENTRIES)
    masks = [None] * len(blocks) if hidden is None else hidden.split(len(blocks[0]))
    parts = [
        _steps(block, dictionary, gram, k, non_negative, mask)
        for block, mask in zip(blocks, masks, strict=True)
    ]
    return _Steps(*map(torch.cat, zip(*parts, strict=True)))


def _steps(rows, dictionary, gram, k, non_negative, hidden) -> _Steps:
    """Steps of matching pursuit of one block of rows."""
    correlations = rows @ dictionary.T
    rounding = _rounding(rows)
    atoms = torch.empty_like(correlations)
    picks, increments = [], []
    for _ in range(k):
        strength = correlations if non_negative else correlations.abs()
        if hidden is not None:
            strength = strength.masked_fill(hidden, -torch.inf)
        pick = strided_argmax(strength)
        increment = correlations.gather(1, pick[:, None])
        best = strength.gather(1, pick[:, None])
        increment = increment.where(best > rounding, 0)
        picks.append(pick[:, None])
        increments.append(increment)
        torch.index_select(gram, 0, pick, out=atoms)
        correlations.addcmul_(atoms, increment, value=-1.0)
    return _Steps(torch.cat(picks, 1), torch.cat(increments, 1))


def _merge(
    steps: _Steps, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of `width` slots with distinct atoms, and the slot of each step."""
    picks, increments = steps
    n_rows, k = picks.shape
    same = picks[:, :, None] == picks[:, None, :]  # (batch, k, k)
    first = same.byte().argmax(2)
    is_first = first == torch.arange(k, device=picks.device)
    slots = (is_first.cumsum(1) - 1).gather(1, first)
    values = increments.new_zeros(n_rows, width).scatter_add(1, slots, increments)
    indices = picks.new_zeros(n_rows, width).scatter(1, slots, picks)
    used = torch.arange(width, device=picks.device) < is_first.sum(1, keepdim=True)
    return values, _fill(indices, used), slots


def _fill(indices: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    """Indices with atoms in the unused slots that the row does not use elsewhere."""
    n_rows, width = indices.shape
    # as many of the first `width` atoms are free as there are slots to fill
    taken = used.new_zeros(n_rows, width + 1)
    taken.scatter_(1, indices.where(used, width).clamp_max(width), True)
    free = taken[:, :width].byte().argsort(dim=1, stable=True)
    return indices.where(used, free.gather(1, (~used).cumsum(1).sub(1).relu()))


class _Pursue(torch.autograd.Function):
    """Matching pursuit, differentiated as c_t = r_t . d_t, r_{t+1} = r_t - c_t d_t."""

    @staticmethod
    def forward(ctx, rows, dictionary, gram, k, non_negative, hidden):
        steps = _steps_in_blocks(rows, dictionary, gram, k, non_negative, hidden)
        values, indices, slots = _merge(steps, min(k, len(dictionary)))
        ctx.save_for_backward(rows, dictionary, *steps, slots)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad, _):
        rows, dictionary, picks, increments, slots = ctx.saved_tensors
        # a step that added nothing is not part of the code
        grad = grad.gather(1, slots) * (increments != 0)
        grad_rows, grad_dictionary = [], torch.zeros_like(dictionary)
        n_block = max(1, _BLOCK_ENTRIES // (picks.shape[1] * rows.shape[1]))
        for part in zip(
            *(x.split(n_block) for x in (rows, picks, increments, grad)), strict=True
        ):
            grad_rows.append(_add_gradient(grad_dictionary, dictionary, *part))
        return torch.cat(grad_rows), grad_dictionary, None, None, None, None


def _add_gradient(total, dictionary, rows, picks, increments, grad) -> torch.Tensor:
    """Add the dictionary's gradient to `total` and return that of a block of rows.

    With g_t the gradient of c_t as a part of the code, the full one is
    gamma_t = g_t - sum_{s > t} gamma_s d_s . d_t, and that of the residual r_{t+1} is
    lambda_{t+1} = sum_{s > t} gamma_s d_s. The atom of step t receives
    gamma_t r_t - c_t lambda_{t+1}, where r_t = x - sum_{s < t} c_s d_s.
    """
    atoms = dictionary[picks]  # (batch, k, d)
    later = (atoms @ atoms.mT).triu(1)
    # the solver takes the diagonal as 1
    gamma = torch.linalg.solve_triangular(
        later, grad[:, :, None], upper=True, unitriangular=True
    ).squeeze(2)
    crossed = (increments[:, :, None] * gamma[:, None, :]).triu(1)
    crossed = crossed + crossed.mT
    of_steps = torch.baddbmm(
        gamma[:, :, None] * rows[:, None, :], crossed, atoms, alpha=-1
    )
    grouping = group_by_latent(picks.view(-1, 1), len(dictionary))
    ones = torch.ones_like(increments)
    total += sum_by_latent(ones, of_steps.flatten(0, 1), grouping)
    return weighted_sum(gamma, picks, dictionary)


class _Atoms(NamedTuple):
    """A dictionary and its Gram matrix, which is also kept in panels of columns.

    Rows of it are read from memory in no order; those of a panel stay in the cache.
    """

    dictionary: torch.Tensor
    gram: torch.Tensor
    panels: tuple[torch.Tensor, ...]

    @classmethod
    def prepare(cls, dictionary, gram, n_rows: int) -> "_Atoms":
        """Panels as far as they are worth their copy."""
        width = max(1, _BLOCK_ENTRIES // len(gram))
        if gram.is_cuda or n_rows < _ROWS_WORTH_PANELS or width >= len(gram):
            return cls(dictionary, gram, (gram,))
        panels = (panel.contiguous() for panel in gram.split(width, dim=1))
        return cls(dictionary, gram, tuple(panels))

    def subtract(self, out, correlations, weights, indices) -> torch.Tensor:
        """Correlations of rows minus those of weighted sums of atoms: (batch, m)."""
        if indices.shape[1] * _FEATURES_PER_ATOM > self.dictionary.shape[1]:
            explained = weighted_sum(weights, indices, self.dictionary)
            return torch.addmm(
                correlations, explained, self.dictionary.T, alpha=-1.0, out=out
            )
        start = 0
        for panel in self.panels:
            columns = slice(start, start + panel.shape[1])
            explained = weighted_sum(weights, indices, panel)
            torch.sub(correlations[:, columns], explained, out=out[:, columns])
            start = columns.stop
        return out


class _Supports(NamedTuple):
    """Non-negative least squares on the support of each row of a block.

    A support has k slots; what belongs to an unused one is 0.
    """

    number: torch.Tensor  # (batch,) place of the row in its block
    rounding: torch.Tensor  # (batch,)
    correlations: torch.Tensor  # (batch, m) of the row, -inf for atoms not to be added
    atoms: torch.Tensor  # (batch, k)
    used: torch.Tensor  # (batch, k)
    weights: torch.Tensor  # (batch, k)
    target: torch.Tensor  # (batch, k) correlations of the row with the support
    products: torch.Tensor  # (batch, k, k) Gram matrix of the support
    inverse: torch.Tensor  # (batch, k, k) its inverse

    def of_rows(self, rows: torch.Tensor) -> "_Supports":
        """Copies of some rows."""
        return _Supports(*(part[rows] for part in self))

    def of_slots(self, width: int) -> "_Supports":
        """Views of the first slots."""
        return _Supports(
            *self[:3],
            *(part[:, :width] for part in self[3:7]),
            *(part[:, :width, :width] for part in self[7:]),
        )

    def solution(self) -> torch.Tensor:
        """Least squares on the support, of either sign, refined from the weights."""
        return self.weights + _times(
            self.inverse, self.target - _times(self.products, self.weights)
        )


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Products of matrices (batch, k, k) with vectors (batch, k)."""
    return (matrices @ vectors[:, :, None]).squeeze(2)


def _orthogonal_block(rows, atoms: _Atoms, k: int) -> Codes:
    """Orthogonal matching pursuit of one block of rows."""
    n_rows = len(rows)
    values = rows.new_zeros(n_rows, k)
    indices = values.new_zeros(n_rows, k, dtype=torch.long)
    supports = _Supports(
        number=torch.arange(n_rows, device=rows.device),
        rounding=_rounding(rows).squeeze(1),
        correlations=rows @ atoms.dictionary.T,
        atoms=indices.clone(),
        used=indices.bool(),
        weights=values.clone(),
        target=values.clone(),
        products=values.new_zeros(n_rows, k, k),
        inverse=values.new_zeros(n_rows, k, k),
    )
    residual = torch.empty_like(supports.correlations)
    for n_rounds in range(1, _MAX_ROUNDS * k + 1):
        in_use = supports.of_slots(min(n_rounds, k))
        growing = _grow(in_use, atoms, residual[: len(in_use.number)])
        _solve(in_use)
        if 2 * int(growing.sum()) <= len(growing):
            values[supports.number] = supports.weights
            indices[supports.number] = supports.atoms
            supports = supports.of_rows(growing)
        if not len(supports.number):
            break
    values[supports.number] = supports.weights
    indices[supports.number] = supports.atoms
    return values, _fill(indices, values > 0)


def _grow(supports: _Supports, atoms: _Atoms, residual: torch.Tensor) -> torch.Tensor:
    """Add the best atom to the rows that have a free slot; True for those rows."""
    gram = atoms.gram
    atoms.subtract(residual, supports.correlations, supports.weights, supports.atoms)
    atom = strided_argmax(residual)
    best = residual.gather(1, atom[:, None]).squeeze(1)
    growing = (best > supports.rounding) & ~supports.used.all(1)
    cross = gram[supports.atoms, atom[:, None]] * supports.used  # (batch, k)
    projected = _times(supports.inverse, cross)
    norm = gram[atom, atom]
    outside = norm - (cross * projected).sum(1)
    added = growing & (outside > _DEPENDENT * torch.finfo(gram.dtype).eps * norm)

    slot = supports.used.byte().argmin(1)
    border = -projected
    border.scatter_(1, slot[:, None], 1.0)
    border *= (added / outside.where(added, 1.0).sqrt())[:, None]
    supports.inverse.addcmul_(border[:, :, None], border[:, None, :])
    rows = growing.nonzero().squeeze(1)
    target = supports.correlations[rows, atom[rows]]
    # one that depends on the support is passed over for good
    supports.correlations[rows, atom[rows]] = -torch.inf
    target = target[added[rows]]
    rows = added.nonzero().squeeze(1)
    slot = slot[rows]
    supports.products[rows, slot] = cross[rows]
    supports.products[rows, :, slot] = cross[rows]
    supports.products[rows, slot, slot] = norm[rows]
    supports.target[rows, slot] = target
    supports.atoms[rows, slot] = atom[rows]
    supports.used[rows, slot] = True
    return growing


def _solve(supports: _Supports) -> None:
    """Solve the non-negative least squares of each support, whose weights are feasible.

    Lawson and Hanson (1974): where the solution is negative, go towards it until the
    first weight reaches 0, let that atom leave, and solve for the others.
    """
    solution = supports.solution()
    while True:
        rows = ((solution <= 0) & supports.used).any(1).nonzero().squeeze(1)
        if not len(rows):
            break
        solution[rows] = _drop(supports, rows, solution[rows])
    supports.weights.copy_(solution)


def _drop(supports: _Supports, rows, solution) -> torch.Tensor:
    """New solution of some rows after the first atom on the way has left each."""
    weights, used, atoms, target, products, inverse = (
        part[rows]
        for part in (
            supports.weights,
            supports.used,
            supports.atoms,
            supports.target,
            supports.products,
            supports.inverse,
        )
    )
    tiny = torch.finfo(weights.dtype).tiny
    distance = weights / (weights - solution).clamp_min(tiny)
    distance, slot = distance.where(used & (solution <= 0), torch.inf).min(1)
    weights = weights.lerp(solution, distance[:, None]).relu_()

    each = torch.arange(len(rows), device=rows.device)
    # an atom that leaves before it had any weight came in by rounding: it stays out
    back = distance > 0
    supports.correlations[rows[back], atoms[each, slot][back]] = target[each, slot][
        back
    ]
    column = inverse[each, slot]
    column = column / column[each, slot, None].sqrt()
    inverse.addcmul_(column[:, :, None], column[:, None, :], value=-1.0)
    for part in (inverse, products):
        part[each, slot] = 0.0
        part[each, :, slot] = 0.0
    weights[each, slot] = 0.0
    target[each, slot] = 0.0
    supports.used[rows, slot] = False
    supports.weights[rows] = weights
    supports.target[rows] = target
    supports.products[rows] = products
    supports.inverse[rows] = inverse
    return weights + _times(inverse, target - _times(products, weights))
