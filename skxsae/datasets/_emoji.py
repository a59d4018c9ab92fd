"""Emoji as pictures and as words: the data set that comes with the package."""

from importlib import resources

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

_FOLDER = resources.files("skxsae.datasets") / "data"
_OF_EMOJI = ("characters", "names", "categories", "subcategories", "test")
_FILES = {
    "en": "emoji.npz",
    **{code: f"emoji_{code}.npz" for code in ("de", "es", "fr", "it", "pt")},
}
_N_EMOJI = 1906
_PICTURE_SIZE = 48


@validate_params(
    {
        "subset": [StrOptions({"all", "train", "test"})],
        "language": [StrOptions(set(_FILES))],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_emoji(*, subset="all", language="en", return_X_y=False):
    """Load embeddings of 1,906 emoji, as pictures and as words.

    Each pair is the picture of an emoji and one of its texts in a language: its name,
    and its name with some of its keywords. The two encoders were never trained
    together, and the first has seen photographs only. Pictures come from
    EfficientNet-lite0 and texts from all-MiniLM-L6-v2, each reduced to 256 features by
    a projection that was found on the training rows. The widths are the same, the
    spaces are not: feature i of one view has nothing to do with feature i of the other,
    nor with feature i of the texts in another language.

    300 emoji are held out with all their texts. No flag is among them, nor an emoji
    with the very picture of another, but many have a sibling in the training set, such
    as *man cook* and *woman cook*.

    The sentence encoder learnt from English. It carries the other languages offered
    here only in part: see `DESCR` for what was measured, and
    :func:`load_emoji_names` for names in languages that it does not carry.

    Parameters
    ----------
    subset : {'all', 'train', 'test'}, default='all'
        Which pairs to load: all, or those of the 1,606 emoji to train on, or of the 300
        that are held out. In English they are 5,394, 4,468 and 926.

    language : {'de', 'en', 'es', 'fr', 'it', 'pt'}, default='en'
        Language of the texts: German, English, Spanish, French, Italian or Portuguese.
        An emoji has up to five texts in English and up to two in the others: its name,
        and its name with its keywords. The emoji, their pictures and the split are the
        same in all.

    return_X_y : bool, default=False
        Whether to return ``(data.X, data.y)`` only. The groups, which say where two
        pairs have the same picture, are then missing.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes. All arrays have one entry
        for each pair.

        X : ndarray of shape (n_pairs, 256)
            Pictures, float32 rows of unit length. Pairs of the same emoji have the same
            row.
        y : ndarray of shape (n_pairs, 256)
            Texts, float32 rows of unit length.
        groups : ndarray of shape (n_pairs,)
            Number of the emoji, from 0 to 1905 in Unicode's order whatever the
            subset. Sorted.
        test : ndarray of shape (n_pairs,)
            True for the pairs that are held out.
        texts : ndarray of shape (n_pairs,)
            Text of `y`. No two are the same.
        characters : ndarray of shape (n_pairs,)
            The emoji itself, a string of one or more code points.
        names : ndarray of shape (n_pairs,)
            Name of the emoji, its first text.
        categories : ndarray of shape (n_pairs,)
            One of nine, such as 'Animals & Nature'.
        subcategories : ndarray of shape (n_pairs,)
            One of 98, such as 'animal-mammal'.
        DESCR : str
            How the data were made, what the reduction costs, what the other languages
            are worth, and all licences.

    (X, y) : tuple of ndarray if ``return_X_y`` is True
        Both of shape (n_pairs, 256).

    See Also
    --------
    load_emoji_names : Load the names alone, in more languages.
    load_emoji_pictures : Load the pictures.
    load_paired_arrays : Load two views of your own.
    make_paired_features : Generate two views with known truth.

    Examples
    --------
    >>> from skxsae.datasets import load_emoji
    >>> data = load_emoji()
    >>> data.X.shape, data.y.shape
    ((5394, 256), (5394, 256))
    >>> octopus = data.names == "octopus"
    >>> print(*data.texts[octopus], sep="\\n")
    octopus
    octopus, animal, creature
    octopus, ocean
    >>> data.X[~data.test].shape
    (4468, 256)
    >>> french = load_emoji(language="fr")
    >>> print(*french.texts[french.names == "pieuvre"], sep="\\n")
    pieuvre
    pieuvre, animal, créature, mer, mollusque, océan, poulpe
    """
    arrays = _read_arrays(language)
    groups = arrays["groups"]
    names = arrays["texts"][np.unique(groups, return_index=True)[1]]
    rows = _rows_of(subset, arrays["test"][groups])
    of_emoji = {
        key: values[groups[rows]]
        for key, values in {**arrays, "names": names}.items()
        if key in _OF_EMOJI
    }
    X = _unit_rows(arrays["images"])[groups[rows]]
    y = _unit_rows(arrays["text_embeddings"][rows])
    if return_X_y:
        return X, y
    description = (_FOLDER / "README.md").read_text(encoding="utf-8")
    return Bunch(
        X=X,
        y=y,
        groups=groups[rows],
        texts=arrays["texts"][rows],
        **of_emoji,
        DESCR=description,
    )


def load_emoji_names():
    """Load the names of the emoji in 18 languages.

    They are the short names of Unicode's CLDR, among them those in languages and
    scripts that the sentence encoder of :func:`load_emoji` does not carry.

    Returns
    -------
    names : DataFrame of shape (1906, 18)
        A column of strings for each language, under its ISO 639-1 code. Row i belongs
        to the emoji that has number i in ``load_emoji().groups``. No name occurs twice
        in a column.

    See Also
    --------
    load_emoji : Load the emoji as pairs of embeddings.

    Examples
    --------
    >>> from skxsae.datasets import load_emoji_names
    >>> names = load_emoji_names()
    >>> names.loc[names["en"] == "octopus", ["de", "tr", "ja", "ru"]]
              de       tr  ja        ru
    660  Oktopus  ahtapot  タコ  осьминог

    The groups of pairs pick the names of their emoji:

    >>> from skxsae.datasets import load_emoji
    >>> data = load_emoji(subset="test")
    >>> names.loc[data.groups, "ja"].shape == data.names.shape
    True
    """
    with (_FOLDER / "emoji_names.csv").open("rb") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def load_emoji_pictures():
    """Load small pictures of the emoji.

    They are those of Noto Emoji, on white and 48 pixels wide, compressed with a small
    loss: meant to be looked at. The features of :func:`load_emoji` come from the
    originals, which are 64 pixels wide.

    Returns
    -------
    pictures : ndarray of shape (1906, 48, 48, 3)
        Red, green and blue of every pixel, uint8. Picture i belongs to the emoji that
        has number i in ``load_emoji().groups``.

    Raises
    ------
    ImportError
        If Pillow is not installed; it comes with ``skxsae[plot]``.

    See Also
    --------
    load_emoji : Load the emoji as pairs of embeddings.

    Notes
    -----
    Copyright Google, Apache License 2.0, see ``skxsae/datasets/data/LICENSES.txt``.

    Examples
    --------
    >>> from skxsae.datasets import load_emoji, load_emoji_pictures
    >>> pictures = load_emoji_pictures()
    >>> pictures.shape, pictures.dtype
    ((1906, 48, 48, 3), dtype('uint8'))
    >>> data = load_emoji()
    >>> tomato = pictures[data.groups[data.names == "tomato"][0]]
    >>> red, green, blue = tomato[24, 24]
    >>> bool(red > green and red > blue)
    True
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "load_emoji_pictures requires Pillow: pip install 'skxsae[plot]'."
        ) from error
    with (_FOLDER / "emoji.webp").open("rb") as file, Image.open(file) as picture:
        sheet = np.array(picture.convert("RGB"))
    size = _PICTURE_SIZE
    rows = sheet.reshape(len(sheet) // size, size, -1, size, 3)
    return rows.swapaxes(1, 2).reshape(-1, size, size, 3)[:_N_EMOJI]


def _read_arrays(language):
    """The arrays of the emoji, with the texts in a language, in memory."""
    arrays = {}
    for name in dict.fromkeys([_FILES["en"], _FILES[language]]):
        with (
            (_FOLDER / name).open("rb") as file,
            np.load(file, allow_pickle=False) as loaded,
        ):
            arrays.update(loaded)
    return arrays


def _rows_of(subset, test):
    """Rows of a subset, as a mask."""
    masks = {"all": np.ones_like(test), "train": ~test, "test": test}
    return masks[subset]


def _unit_rows(embeddings):
    """Rows as float32, of unit length again after their storage in fewer bits."""
    return normalize(embeddings.astype(np.float32), copy=False)
