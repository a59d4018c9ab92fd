"""The page of the explorer: thumbnails, data and the file itself."""

import base64
import io
import json
import warnings
from importlib import resources

import numpy as np
import pandas as pd

from skxsae._replacing import replacing
from skxsae.embedding._entries import Unreadable, describe_unreadable
from skxsae.embedding._images import decode_image, read_image

_FOLDER = resources.files("skxsae.inspection") / "page"
_QUALITY = 80
_MAX_CHARACTERS = 300


class Items:
    """The samples that the page shows: their texts, and their pictures once each."""

    def __init__(self, images, texts, x_texts, size):
        self.images, self.size = images, size
        self.texts = {"text": texts, "x_text": x_texts}
        self.numbers, self.pictures = {}, {}
        self.unreadable = {}

    def number(self, row):
        """Number of the item of a row."""
        return self.numbers.setdefault(int(row), len(self.numbers))

    def with_picture(self, row):
        """Number of the item of a row whose picture is shown."""
        row = int(row)
        if self.images is not None and row not in self.pictures:
            self.pictures[row] = self._thumbnail(row)
        return self.number(row)

    def _thumbnail(self, row):
        """The picture as a data URI, or None if it cannot be read."""
        try:
            image = decode_image(read_image(self.images[row])[1])
        except Unreadable as error:
            self.unreadable[row] = error
            return None
        image.thumbnail((self.size, self.size))
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=_QUALITY)
        code = base64.b64encode(buffer.getvalue()).decode("ascii")
        return f"data:image/webp;base64,{code}"

    def to_dict(self):
        """Columns of the table of items."""
        rows = list(self.numbers)
        columns = {
            name: [shortened(texts[row]) for row in rows]
            for name, texts in self.texts.items()
            if texts is not None
        }
        columns["row"] = rows
        if self.images is not None:
            columns["picture"] = [self.pictures.get(row) for row in rows]
        return columns

    def warn(self):
        """Name the pictures that could not be read, if there are any."""
        if self.unreadable:
            message = describe_unreadable(
                "images", self.images, dict(sorted(self.unreadable.items()))
            )
            warnings.warn(f"{message}. Their place is empty.", stacklevel=4)


def shortened(text):
    """Text of at most 300 characters, with an ellipsis where it was cut."""
    too_long = len(text) > _MAX_CHARACTERS
    return f"{text[: _MAX_CHARACTERS - 1]}…" if too_long else text


def to_columns(table):
    """Columns of a table as lists, rounded, with None for what is missing."""
    columns = {}
    for name, column in table.items():
        values = column.to_numpy()
        if np.issubdtype(values.dtype, np.floating):
            values = [
                float(f"{value:.4g}") if np.isfinite(value) else None
                for value in values
            ]
        else:
            values = [None if pd.isna(value) else value for value in column.tolist()]
        columns[name] = values
    return columns


def write_page(path, data, plotly):
    """Fill the template with style, programs and data, and write it."""
    parts = {
        "STYLE": _read("page.css"),
        "DATA": _as_script(data),
        "PLOTLY": plotly,
        "PROGRAM": _read("page.js"),
    }
    page = _read("page.html")
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for part in page.split("<!--"):
            name, closed, rest = part.partition("-->")
            file.write(parts[name] + rest if closed else part)
    return path


def _read(name):
    """A file of the page's folder."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def _as_script(data):
    """JSON in which nothing can end the script element that holds it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plotly_program():
    """Plotly's program, as it comes with its Python package."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "explore requires plotly: pip install 'skxsae[plot]'."
        ) from error
    return get_plotlyjs()
