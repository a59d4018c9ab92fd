import numpy as np
import pandas as pd
import pytest

from skxsae.embedding._entries import Unreadable
from skxsae.embedding._texts import read_text


@pytest.mark.parametrize("text", ["", "a cat", "猫 кошка قطة 🐙", "x" * 10_000])
def test_any_text_is_read(text):
    content_digest, content = read_text(text)
    assert content == text
    assert len(content_digest) == 32
    assert read_text(np.str_(text)) == (content_digest, content)
    assert type(read_text(np.str_(text))[1]) is str


def test_other_texts_have_other_digests():
    assert len({read_text(text)[0] for text in ("a", "A", "a ", "")}) == 4


@pytest.mark.parametrize("entry", [None, np.nan, pd.NA, 3, b"a cat", ["a cat"]])
def test_what_is_no_text_is_unreadable(entry):
    with pytest.raises(Unreadable, match=f"{type(entry).__name__} instead of str"):
        read_text(entry)


@pytest.mark.parametrize("entry", [None, np.nan, np.float32("nan"), pd.NA])
def test_an_empty_cell_of_a_table_is_explained(entry):
    with pytest.raises(Unreadable, match=r"empty cell .* keep_default_na=False"):
        read_text(entry)


@pytest.mark.parametrize("entry", [3.5, np.float32(2), 3, b"a cat"])
def test_a_number_is_no_empty_cell(entry):
    with pytest.raises(Unreadable, match=r"instead of str$"):
        read_text(entry)


def test_half_a_surrogate_is_unreadable():
    with pytest.raises(Unreadable, match="not valid Unicode"):
        read_text("\ud83d")
