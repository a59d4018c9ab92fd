"""A folder of numbered .npy files whose rows follow one another."""

import re
from itertools import pairwise

import numpy as np

_NUMBERED = re.compile(r"(.*?)(\d+)\.npy", re.IGNORECASE)


def find_shards(given, folder, forms):
    """Paths of the numbered .npy files of a folder, in the order of their numbers."""
    found = [_NUMBERED.fullmatch(path.name) for path in folder.iterdir()]
    parts = [match.groups() for match in found if match]
    if not parts:
        raise ValueError(
            f"{given} is a directory without numbered files such as 'img_emb_0.npy'. "
            f"Give {forms}."
        )
    prefixes = sorted({prefix for prefix, _ in parts})
    if len(prefixes) > 1:
        raise ValueError(
            f"{given} holds files of {len(prefixes)} arrays, which start with "
            f"{', '.join(map(repr, prefixes))}. Keep one array in a directory."
        )
    names = {int(match[2]): match[0] for match in found if match}
    _check_numbers(given, sorted(int(number) for _, number in parts))
    return [folder / names[number] for number in sorted(names)]


def _check_numbers(given, numbers):
    """Raise unless the sorted numbers follow one another."""
    for number, following in pairwise(numbers):
        if following == number:
            raise ValueError(
                f"{given} has two files of number {number}, so that the order of its "
                "rows is not known. Keep one of them."
            )
        if following > number + 1:
            raise ValueError(
                f"{given} lacks the file of number {number + 1}: its numbers run from "
                f"{numbers[0]} to {numbers[-1]}. Add the file or, if the other view "
                "lacks it too, renumber the files of both."
            )


def join_shards(given, paths, shards):
    """Rows of all arrays in one, read from one after another."""
    first = shards[0]
    for path, shard in zip(paths, shards, strict=True):
        of_one_kind = (shard.dtype, shard.shape[1:]) == (first.dtype, first.shape[1:])
        if shard.ndim == 0 or not of_one_kind:
            raise ValueError(
                f"{given}: {path.name!r} holds {_in_words(shard)}, but "
                f"{paths[0].name!r} {_in_words(first)}. All files of a directory must "
                "have rows of one shape and type."
            )
    n_rows = sum(len(shard) for shard in shards)
    joined = np.empty((n_rows, *first.shape[1:]), dtype=first.dtype)
    start = 0
    for shard in shards:
        joined[start : start + len(shard)] = shard
        start += len(shard)
    return joined


def _in_words(shard):
    """Shape and type of the rows of an array."""
    if shard.ndim == 0:
        return "a single number"
    return f"rows of shape {shard.shape[1:]} and dtype {shard.dtype}"
