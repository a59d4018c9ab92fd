"""Where the pairs come from: the emoji, arrays of the user, or a known truth."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skxsae._disk_array import DiskArray
from skxsae._validation import check_finite
from skxsae.datasets import load_emoji, load_paired_arrays, make_paired_features
from skxsae.datasets._equal_rows import first_equal_rows

# what recall@10 needs to be a number other than 1
_MIN_TEST_GROUPS = 11
_MIN_TRAIN_GROUPS = 2

# a tenth of the paper's setting in every size that costs time
_SYNTHETIC = {
    "n_samples": 12_000,
    "n_features": 64,
    "n_shared": 128,
    "n_x_only": 64,
    "n_y_only": 64,
    "max_interference": 0.45,
    "sparsity": 0.96,
}


# small data want more and larger steps than the defaults of large ones; a thread that
# waits for another at each of these steps costs minutes on a busy machine
_SMALL_BATCHES = {"batch_size": 256, "learning_rate": 2e-3}
_EMOJI_SETTINGS = {
    "n_latents": 256,
    "k": 8,
    "max_iter": 50,
    "training": _SMALL_BATCHES,
    "n_threads": 1,
}
_SYNTHETIC_SETTINGS = {
    "n_latents": 256,
    "k": 8,
    "max_iter": 40,
    "training": _SMALL_BATCHES,
    "n_threads": 1,
}


@dataclass(frozen=True)
class Pairs:
    """Two views with their pairing, their split and how to call their rows."""

    description: str
    X: np.ndarray | DiskArray  # (n_rows_x, n_features_x)
    y: np.ndarray | DiskArray  # (n_pairs, n_features_y)
    x_rows: np.ndarray  # (n_pairs,), row of X of each pair
    groups: np.ndarray  # (n_pairs,)
    train: np.ndarray  # (n_train,), sorted pairs
    test: np.ndarray  # (n_test,), sorted pairs
    x_name: str = "x"
    y_name: str = "y"
    x_labels: np.ndarray | None = None  # (n_rows_x,)
    y_labels: np.ndarray | None = None  # (n_pairs,)
    truth: Bunch | None = None
    about_controls: str = ", which means something only in a joint space"
    defaults: dict = field(default_factory=dict)  # of `Settings`, for these pairs
    notes: tuple[str, ...] = ()

    @property
    def x_items(self):
        """What the rows of X are called."""
        return f"rows of {self.x_name}" if self.x_labels is None else f"{self.x_name}s"

    @property
    def y_items(self):
        """What the rows of y are called."""
        return f"rows of {self.y_name}" if self.y_labels is None else f"{self.y_name}s"

    @property
    def same_width(self):
        """Whether both views have as many features."""
        return self.X.shape[1] == self.y.shape[1]

    def x_rows_of(self, pairs):
        """Distinct rows of X among some pairs, and where each pair finds its own."""
        return np.unique(self.x_rows[pairs], return_inverse=True)


def take(array, rows):
    """Some rows of an array, which stay on disk if they are there."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        rows = slice(rows[0], rows[-1] + 1)
    if isinstance(array, np.memmap):
        array = DiskArray(array)
    return array.select(rows) if isinstance(array, DiskArray) else array[rows]


def load_pairs(arguments):
    """The pairs that the arguments ask for, or a ValueError."""
    if arguments.synthetic:
        return _synthetic_pairs(arguments.seed)
    if arguments.x is None:
        return _emoji_pairs()
    return _user_pairs(arguments)


def _emoji_pairs():
    """The emoji that come with the package."""
    data = load_emoji()
    _, first, x_rows = np.unique(data.groups, return_index=True, return_inverse=True)
    return Pairs(
        description=f"{len(first)} emoji as pictures and as {len(data.y)} words",
        X=data.X[first],
        y=data.y,
        x_rows=x_rows,
        groups=data.groups,
        train=np.flatnonzero(~data.test),
        test=np.flatnonzero(data.test),
        x_name="picture",
        y_name="word",
        x_labels=data.characters[first],
        y_labels=data.texts,
        about_controls=": as the encoders of pictures and of words were never trained "
        "together, no more than chance, the last line, is to be expected of these",
        defaults=_EMOJI_SETTINGS,
    )


def _synthetic_pairs(seed):
    """Pairs from known concepts, a sixth of them held out."""
    data = make_paired_features(**_SYNTHETIC, random_state=seed)
    rows = np.arange(len(data.X))
    n_train = len(rows) * 5 // 6
    return Pairs(
        description=f"Synthetic: {data.DESCR}",
        X=data.X,
        y=data.y,
        x_rows=rows,
        groups=rows,
        train=rows[:n_train],
        test=rows[n_train:],
        truth=data,
        defaults=_SYNTHETIC_SETTINGS,
    )


def _user_pairs(arguments):
    """Arrays on disk."""
    data = load_paired_arrays(
        arguments.x,
        arguments.y,
        groups=arguments.groups,
        test=arguments.test,
        random_state=arguments.seed,
    )
    for name, array in (("--x", data.X), ("--y", data.y)):
        check_finite(array, name)
    n_train, n_test = (
        len(np.unique(data.groups[rows])) for rows in (data.train, data.test)
    )
    if n_test < _MIN_TEST_GROUPS or n_train < _MIN_TRAIN_GROUPS:
        raise ValueError(
            f"{n_test} groups of pairs are held out and {n_train} are left to train "
            f"on, but recall@10 needs at least {_MIN_TEST_GROUPS} held out and "
            f"training at least {_MIN_TRAIN_GROUPS}: give more rows, or another --test"
        )
    return Pairs(
        description=f"{arguments.x} and {arguments.y}",
        X=data.X,
        y=data.y,
        x_rows=data.x_rows,
        groups=data.groups,
        train=data.train,
        test=data.test,
        y_name="text" if arguments.texts else "y",
        y_labels=_read_texts(arguments.texts, len(data.y)),
        notes=() if arguments.groups else tuple(_notes_on_repeats(data)),
    )


def _notes_on_repeats(data):
    """What equal rows do to a split that no groups were given for."""
    n_pairs, n_groups = len(data.y), len(np.unique(data.groups))
    if n_groups < n_pairs:
        yield (
            f"{n_pairs - n_groups} of the {n_pairs} rows of --x repeat an earlier one: "
            "pairs with equal rows of --x are one group, which is held out or trained "
            "on as a whole; --groups says otherwise."
        )
    first = first_equal_rows(data.y)
    n_in_both = np.count_nonzero(np.isin(first[data.test], first[data.train]))
    if n_in_both:
        yield (
            f"{n_in_both} of the {len(data.test)} held-out rows of --y are equal to "
            "rows that were trained on: if such pairs belong together, give --groups."
        )


def _read_texts(path, n_pairs):
    """Lines of a text file, one for each pair."""
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"--texts {path} cannot be read ({error}): give a UTF-8 text file"
        ) from error
    if len(lines) != n_pairs:
        raise ValueError(
            f"--texts {path} has {len(lines)} lines, but --y has {n_pairs} rows: give "
            "one line per row of --y"
        )
    return np.array(lines, dtype=object)
