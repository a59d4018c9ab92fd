"""The concepts that both views share: the best matches and what makes them fire."""

import textwrap
import unicodedata

import numpy as np
from scipy import sparse

from skxsae._cli._data import take
from skxsae._concepts import strongest_rows

_N_CONCEPTS = 10
_N_EXAMPLES = 5
_WIDTH = 100
_N_LINES = 2
# a longest example of this length, such as an emoji, needs no bar to its neighbour
_SHORT = 8
_ZERO_WIDTH = "\u200d\ufe0e\ufe0f"


def best_concepts(sae, pairs):
    """The matches of highest correlation above the noise, with what they stand for.

    That is where a latent is most active on the training pairs, each picture and each
    text once, or the true concept next to its direction where the truth is known.
    """
    matches = sae.matches_.query("above_noise")
    matches = matches.sort_values("correlation", ascending=False)[:_N_CONCEPTS]
    latents = matches["x_latent"].to_numpy()
    if pairs.truth is not None:
        x_examples = _nearest_concepts(sae.x_sae_, latents, pairs.truth.x_features)
        y_examples = _nearest_concepts(sae.y_sae_, latents, pairs.truth.y_features)
    else:
        x_rows, _ = pairs.x_rows_of(pairs.train)
        x_examples = _strongest(
            sae.x_sae_,
            latents,
            pairs.X,
            x_rows,
            pairs.x_labels,
            np.arange(len(pairs.X)),
        )
        y_examples = _strongest(
            sae.y_sae_, latents, pairs.y, pairs.train, pairs.y_labels, pairs.groups
        )
    return [
        {
            "latent": int(match.x_latent),
            "y_latent_as_trained": int(match.y_latent),
            "correlation": float(match.correlation),
            "margin": float(match.margin) if np.isfinite(match.margin) else None,
            "x": in_x,
            "y": in_y,
        }
        for match, in_x, in_y in zip(
            matches.itertuples(), x_examples, y_examples, strict=True
        )
    ]


def _strongest(sae, latents, view, rows, labels, owners):
    """For each latent the labels, or numbers, of the rows where it is most active.

    No two are equal or of one owner, such as the picture of a text.
    """
    codes = sparse.csc_array(sae.transform(take(view, rows)))[:, latents]
    examples = []
    for strongest, _ in strongest_rows(codes, owners[rows], len(rows)):
        names = [
            int(row) if labels is None else str(labels[row]) for row in rows[strongest]
        ]
        examples.append(list(dict.fromkeys(names))[:_N_EXAMPLES])
    return examples


def _nearest_concepts(sae, latents, features):
    """For each latent the true direction with the largest cosine."""
    cosines = sae.components_[latents] @ features.T
    best = cosines.argmax(axis=1)
    return [
        [f"true concept {concept} (cosine {cosine:.2f})"]
        for concept, cosine in zip(best, cosines.max(axis=1), strict=True)
    ]


def concept_lines(concepts, pairs):
    """The concepts as text."""
    if not concepts:
        return ["No match is above the noise floor: there is no concept to show."]
    many = "" if len(concepts) == 1 else f"{len(concepts)} "
    what, titles = (
        "where each is most active in training",
        (pairs.x_items, pairs.y_items),
    )
    if pairs.truth is not None:
        what, titles = "the true concept nearest to each", ("in x", "in y")
    lines = textwrap.wrap(
        f"The {many}best-matched concept{'s' if many else ''}: correlation r of the "
        "two latents over the training pairs, margin over the next best partner of "
        f"either, and {what}.",
        _WIDTH,
    )
    for number, concept in enumerate(concepts, 1):
        head = f"{number:2}  r {concept['correlation']:.2f}"
        if concept["margin"] is not None:
            head += f"  margin {concept['margin']:+.2f}"
        for view, items in zip("xy", titles, strict=True):
            lines += _examples(f"{head:26}{items:<11} ", concept[view])
            head = ""
    return lines


def _examples(start, examples):
    """Lines with as many examples as they hold, the longest cut."""
    width = _WIDTH - display_width(start)
    texts = [shortened(" ".join(str(text).split()), width) for text in examples]
    gap = "  " if max(map(len, texts)) <= _SHORT else " | "
    lines = [start]
    for i, text in enumerate(texts):
        joined = lines[-1] + (gap if i else "") + text
        if display_width(joined) <= _WIDTH:
            lines[-1] = joined
        elif len(lines) < _N_LINES:
            lines.append(" " * len(start) + text)
        else:
            break
    return lines


def shortened(text, width):
    """Text cut to some columns of a terminal, in which most emoji take two."""
    if display_width(text) <= width:
        return text
    while display_width(text) > width - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def display_width(text):
    """Columns that a text takes; joiners, selectors and accents take none."""
    return sum(
        0
        if unicodedata.combining(character) or character in _ZERO_WIDTH
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )
