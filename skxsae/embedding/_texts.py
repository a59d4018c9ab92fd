"""Texts, and what they are known by."""

from skxsae.embedding._entries import Unreadable, digest

# cases, signs, digits, scripts, an emoji, and more words than any context holds
PROBE_TEXTS = [
    "a photo of a cat",
    "",
    "Two DOGS, 3 birds & it's raining_outside!",
    "ein Käfer, 一只猫, кошка, قطة 🐙",
    "word " * 1000,
]


def read_text(entry):
    """Digest of a text, and the text."""
    if not isinstance(entry, str):
        raise Unreadable(f"{type(entry).__name__} instead of str")
    try:
        return digest(b"text", entry.encode()), str(entry)
    except UnicodeEncodeError as error:
        raise Unreadable("not valid Unicode") from error
