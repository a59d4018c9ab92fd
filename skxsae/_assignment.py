"""One-to-one assignments of the latents of two views, chosen by name.

Each takes the scores of all pairs, an `Affinity`, and the `Partners` of the latents of
both views, and returns the indices of the matched x latents, those of the y latents
that they are matched to, and how far the sum of scores can be below the largest there
is: NaN where nothing is known.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

# a core that grows to this share of all pairs is left to the dense solver, while that
# takes no more than 512 MiB
CORE_SHARE = 1 / 8
MAX_DENSE_CELLS = 2**26
# up to 2,048 x 2,048 pairs are sorted at once
SORTED_CELLS = 2**22
# best partners that are known of each latent, and pairs that may join a core at once
N_PARTNERS = 32
MORE_CANDIDATES = 128
# a score that is better by less than this is rounding
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Partners:
    """Best partners of each latent, from the best on; -1 and -inf behind the last."""

    latents: np.ndarray  # (n_latents, n_partners)
    scores: np.ndarray


def best_partners(affinity, n_partners=N_PARTNERS):
    """The `Partners` of the x latents among those of y.

    The first two are exact. Further ones are of the pairs that fire together.
    """
    n_x, n_y = affinity.shape
    n_partners = max(2, min(n_partners, n_y))
    latents = np.full((n_x, n_partners), -1, dtype=np.intp)
    scores = np.full((n_x, n_partners), -np.inf)
    for rows, stored in affinity.stored_blocks():
        for i in range(rows.start, rows.stop):
            entries = slice(*stored.indptr[i - rows.start : i - rows.start + 2])
            data = stored.data[entries]
            top = _largest(data, n_partners)
            latents[i, : len(top)] = stored.indices[entries][top]
            scores[i, : len(top)] = data[top]
    behind = affinity.hidden_bounds(np.zeros(n_y)) > scores[:, 1]
    for x in np.flatnonzero(behind):
        dense = affinity.rows(x, x + 1)[0]
        top = _largest(dense, n_partners)
        latents[x, : len(top)], scores[x, : len(top)] = top, dense[top]
    return Partners(latents, scores)


def _largest(data, n):
    """Positions of the n largest entries, largest first and of equal ones the first."""
    if len(data) > 4 * n > 0:
        bound = np.partition(data, len(data) - n)[len(data) - n]
        kept = np.flatnonzero(data >= bound)
        return kept[np.argsort(-data[kept], kind="stable")[:n]]
    return np.argsort(-data, kind="stable")[:n]


def hungarian(affinity, x_partners, y_partners):
    """Matching of all latents of the smaller side with the largest sum of scores.

    A sparse core of promising pairs is matched exactly. The prices of that matching
    tell which pairs outside the core could improve it: they join the core, until there
    is none. The final prices are feasible for the dual of the whole problem, so that
    their sum bounds every matching from above.
    """
    n_x, n_y = affinity.shape
    if n_x > n_y:
        y_latents, x_latents, gap = hungarian(affinity.T, y_partners, x_partners)
        return x_latents, y_latents, gap
    match = _opposite_order(affinity)
    core = _first_core(affinity, x_partners, y_partners, match)
    while True:
        match = _match_core(core, match)
        x_price, y_price = _prices(core, match)
        more, excess = _underpriced(affinity, x_price, y_price)
        if more is None:
            break
        core = core.maximum(more)  # the costs of pairs in both are equal
        if CORE_SHARE * n_x * n_y < core.nnz and n_x * n_y <= MAX_DENSE_CELLS:
            return *_dense_hungarian(affinity), 0.0
    x_latents = np.arange(n_x)
    total = affinity.pairs(x_latents, match).sum()
    return x_latents, match, x_price.sum() + y_price.sum() + excess - total


def _dense_hungarian(affinity):
    """The exact matching by SciPy's dense solver, x being the smaller side."""
    cost = np.empty(affinity.shape)
    for rows, scores in affinity.blocks():
        np.negative(scores, out=cost[rows])
    # maximize=True would make SciPy copy the matrix
    return linear_sum_assignment(cost)


def _opposite_order(affinity):
    """Some match of each x latent, to begin with: large shifts with small ones."""
    x_back, y_back = affinity.background
    match = np.empty(len(x_back), dtype=np.intp)
    match[np.argsort(-x_back)] = np.argsort(-y_back)[: len(match)]
    return match


def _first_core(affinity, x_partners, y_partners, match):
    """Costs of the best partners of both sides and of a matching of the x latents."""
    x_latents = np.arange(len(match))
    cells = [(x_latents, match, affinity.pairs(x_latents, match))]
    for partners, swap in ((x_partners, False), (y_partners, True)):
        own, place = np.nonzero(partners.latents >= 0)
        other = partners.latents[own, place]
        x, y = (other, own) if swap else (own, other)
        cells.append((x, y, partners.scores[own, place]))
    return _core_of_cells(cells, affinity.shape)


def _match_core(graph, known):
    """The exact matching of the rows of a sparse graph of costs, from a known one."""
    n_rows, n_columns = graph.shape
    row_starts = np.arange(n_rows) * n_columns
    cells = np.repeat(row_starts, np.diff(graph.indptr)) + graph.indices
    # SciPy first looks for any matching, which can take minutes unless it comes first
    first, swapped = graph.indptr[:-1], np.searchsorted(cells, row_starts + known)
    data, indices = graph.data.copy(), graph.indices.copy()
    for entries in (data, indices):
        entries[first], entries[swapped] = entries[swapped], entries[first]
    # an empty column more: on square graphs SciPy starts with a bidding phase, which
    # takes for ever where latents compete with almost equal scores
    padded = (n_rows, n_columns + 1)
    graph = sparse.csr_array((data, indices, graph.indptr), shape=padded)
    return min_weight_full_bipartite_matching(graph)[1]


def _core_of_cells(cells, shape):
    """Costs 2 - score of pairs, from a list of their x and y latents and scores.

    They are never 0, as SciPy takes a 0 for a missing pair.
    """
    x_latents, y_latents, scores = map(np.concatenate, zip(*cells, strict=True))
    cells, first = np.unique(x_latents * shape[1] + y_latents, return_index=True)
    costs = 2.0 - scores[first]
    return sparse.csr_array((costs, np.divmod(cells, shape[1])), shape=shape)


def _prices(graph, match):
    """Worth of each row and price of each column at which `match` is an equilibrium.

    A row is worth its score less the price of its column, and no other column of the
    graph would leave it more. Columns that stay free cost nothing. Of all these dual
    variables the mean of the lowest and of the highest prices proves most about pairs
    outside the graph.
    """
    cost = np.asarray(graph[np.arange(len(match)), match]).ravel()
    price = _lowest_prices(graph, match, cost) + _highest_prices(graph, match, cost)
    price /= 2
    return 2.0 - _least_outlay(price, graph), price


def _lowest_prices(graph, match, cost):
    """Prices from 0 up: longest paths on the residual graph, by Bellman and Ford."""
    by_column = sparse.csr_array(graph.T)
    filled = np.flatnonzero(np.diff(by_column.indptr))
    starts = by_column.indptr[filled]
    price = np.zeros(graph.shape[1])
    for _ in range(len(match) + 1):  # a path visits each row at most once
        outlay = cost + price[match]
        bids = np.maximum.reduceat(outlay[by_column.indices] - by_column.data, starts)
        if not (bids > price[filled] + TOLERANCE).any():
            break
        price[filled] = np.maximum(price[filled], bids)
    return price


def _highest_prices(graph, match, cost):
    """Prices from where they are certainly too high down: shortest paths."""
    price = np.zeros(graph.shape[1])
    _lower_to_equilibrium(price, graph, match, cost)
    if graph.shape[0] == graph.shape[1]:
        return price - price.min()
    # all but those of free columns, far enough up to end above zero
    price[match] -= price.min()
    _lower_to_equilibrium(price, graph, match, cost)
    return price


def _lower_to_equilibrium(price, graph, match, cost):
    """Lower, in place, the prices of matched columns until no row prefers another."""
    for _ in range(len(match) + 1):
        outlay = _least_outlay(price, graph)
        too_dear = outlay - cost < price[match] - TOLERANCE
        if not too_dear.any():
            break
        price[match[too_dear]] = (outlay - cost)[too_dear]


def _least_outlay(price, graph):
    """Cost and price of the cheapest column of each row."""
    outlay = graph.data + price[graph.indices]
    return np.minimum.reduceat(outlay, graph.indptr[:-1])


def _underpriced(affinity, x_price, y_price):
    """Pairs worth more than both prices, as a core or None, and by how much in sum.

    The sum is that of all x latents where there are none but for rounding.
    """
    hidden = affinity.hidden_bounds(y_price) - x_price
    cells, unseen, total = [], [], 0.0
    for rows, stored in affinity.stored_blocks():
        of_row = np.repeat(x_price[rows], np.diff(stored.indptr))
        excess = stored.data - y_price[stored.indices] - of_row
        best = _row_maxima(excess, stored.indptr)
        most = np.maximum(best, hidden[rows])
        total += np.maximum(most[most <= TOLERANCE], 0.0).sum()
        for i in np.flatnonzero(best > TOLERANCE):
            entries = slice(stored.indptr[i], stored.indptr[i + 1])
            columns, scores = stored.indices[entries], stored.data[entries]
            cells.append(_improving(rows.start + i, columns, scores, excess[entries]))
        for i in np.flatnonzero((best <= TOLERANCE) & (hidden[rows] > TOLERANCE)):
            unseen.append(rows.start + i)
    for i in unseen:
        scores = affinity.rows(i, i + 1)[0]
        excess = scores - y_price - x_price[i]
        total += max(excess.max(), 0.0)
        cells.append(_improving(i, np.arange(len(scores)), scores, excess))
    if sum(len(x_latents) for x_latents, _, _ in cells) == 0:
        return None, total
    return _core_of_cells(cells, affinity.shape), total


def _improving(x_latent, y_latents, scores, excess):
    """The best pairs of an x latent at these prices, if any is worth more than these.

    Those that are worth less join too: prices change, and fewer rounds are needed.
    """
    n = MORE_CANDIDATES if excess.max() > TOLERANCE else 0
    top = _largest(excess, n)
    return np.full(len(top), x_latent), y_latents[top], scores[top]


def _row_maxima(data, indptr):
    """Largest entry of each row of CSR data, -inf where it has none."""
    maxima = np.full(len(indptr) - 1, -np.inf)
    starts, filled = indptr[:-1], np.diff(indptr) > 0
    if filled.any():
        maxima[filled] = np.maximum.reduceat(data, starts[filled])
    return maxima


def greedy(affinity, *_):
    """Matching of the best pair, then the best of the rest, and so on."""
    x_left, y_left = (np.arange(n) for n in affinity.shape)
    rest, x_latents, y_latents = affinity, [], []
    while np.prod(rest.shape) > SORTED_CELLS:
        # nothing that is left can part two latents that are each other's best
        x_taken, y_taken, _ = mutual_nearest(rest)
        x_latents.append(x_left[x_taken])
        y_latents.append(y_left[y_taken])
        x_left, y_left = np.delete(x_left, x_taken), np.delete(y_left, y_taken)
        rest = affinity.select(x_left, y_left)
    x_taken, y_taken = _sorted_greedy(rest)
    x_latents, y_latents = [*x_latents, x_left[x_taken]], [*y_latents, y_left[y_taken]]
    return np.concatenate(x_latents), np.concatenate(y_latents), np.nan


def _sorted_greedy(affinity):
    """`greedy` by sorting all pairs; of equal ones the first x latent's comes first."""
    n_x, n_y = affinity.shape
    scores = np.concatenate([np.empty((0, n_y)), *(s for _, s in affinity.blocks())])
    x_free, y_free, taken = [True] * n_x, [True] * n_y, []
    for cell in np.argsort(-scores, axis=None, kind="stable").data:
        x, y = divmod(cell, n_y)
        if x_free[x] and y_free[y]:
            x_free[x] = y_free[y] = False
            taken.append((x, y))
            if len(taken) == min(n_x, n_y):
                break
    x_latents, y_latents = np.array(taken, dtype=np.intp).reshape(-1, 2).T
    return x_latents, y_latents


def mutual_nearest(affinity, *_):
    """Matching of the pairs whose latents are each other's best."""
    n_x, n_y = affinity.shape
    best_y = np.empty(n_x, dtype=np.intp)
    best_x, best_score = np.zeros(n_y, dtype=np.intp), np.full(n_y, -np.inf)
    for rows, scores in affinity.blocks():
        best_y[rows] = scores.argmax(axis=1)
        _update_best(best_score, best_x, scores, rows.start)
    x_latents = np.flatnonzero(best_x[best_y] == np.arange(n_x))
    return x_latents, best_y[x_latents], np.nan


def _update_best(best_score, best_x, scores, start):
    """Update, in place, each y latent's best x latent with a block of x latents."""
    x_latents = scores.argmax(axis=0)
    block_best = np.take_along_axis(scores, x_latents[None], axis=0)[0]
    better = block_best > best_score
    best_score[better] = block_best[better]
    best_x[better] = x_latents[better] + start


ASSIGNMENTS = {
    "hungarian": hungarian,
    "greedy": greedy,
    "mutual_nearest": mutual_nearest,
}
