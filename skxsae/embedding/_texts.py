"""Texts, and what they are known by."""

import numpy as np

from skxsae.embedding._entries import Unreadable, digest

# cases, signs, digits, scripts, an emoji, and more words than any context holds
PROBE_TEXTS = [
    "a photo of a cat",
    "",
    "Two DOGS, 3 birds & it's raining_outside!",
    "ein Käfer, 一只猫, кошка, قطة 🐙",
    "word " * 1000,
]

_EMPTY_CELL = (
    ", as pandas reads an empty cell or the words NA and None: "
    "read_csv(..., keep_default_na=False) keeps them as texts"
)


def read_text(entry):
    """Digest of a text, and the text."""
    if not isinstance(entry, str):
        reason = f"{type(entry).__name__} instead of str"
        raise Unreadable(f"{reason}{_EMPTY_CELL if _is_missing(entry) else ''}")
    try:
        return digest(b"text", entry.encode()), str(entry)
    except UnicodeEncodeError as error:
        raise Unreadable("not valid Unicode") from error


def _is_missing(entry):
    """Whether an entry stands for a missing value: None, NaN, or pandas' NA."""
    return (
        entry is None
        or type(entry).__name__ == "NAType"
        or (isinstance(entry, float | np.floating) and np.isnan(entry))
    )
