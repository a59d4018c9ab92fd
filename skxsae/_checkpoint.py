"""Fits that go on where a killed process left them."""

import json
import logging
import os
import time
import warnings
import zlib
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from urllib.parse import quote

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._distributed import ALONE, peers
from skxsae._replacing import replacing
from skxsae._validation import in_a_word
from skxsae._version import __version__

logger = logging.getLogger("skxsae")

_SUFFIX = ".skxsae-fit"
_FORMAT = 1
_LONGEST_WRITE = 60.0  # seconds since the last byte; what is older was given up
# what a fit raises that is to go on from something else than a state of it
_BAD_STATE = (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError)


class Checkpoint:
    """Callback that saves the state of a fit, from which a later one goes on.

    A fit that finds the state of the same fit in `folder` takes it up, in the middle of
    a pass if need be, and ends with the same model, bit for bit on a CPU, as if it had
    never been stopped: weights, optimiser, step size, random state, counts of dead
    latents and the position in the data are all restored. The last two states are kept,
    so that a damaged file costs one `interval`. They are removed when the fit is done.

    Parameters
    ----------
    folder : str or path-like
        Where the files go. It is made if it is not there, and serves one fit at a time.

    interval : float, default=600.0
        Least time between two states, in seconds. With 0, every step is saved.

    Notes
    -----
    A state is of the size of the weights times three, and is written as a whole or not
    at all. If it cannot be written, as on a full disk, a warning says so and the fit
    goes on. With several processes, the first one writes.

    Meta-estimators pass it on: the fits of a grid search, or of the two views of
    :class:`PostHocAlignedSAE`, each have files of their own, and those that were done
    are not repeated. Parameters, data and seed must be the same as before; with
    ``random_state=None`` what was drawn before is kept. Other callbacks keep nothing:
    what they knew of the passes before is lost.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skxsae import Checkpoint, TopKSAE
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> sae = TopKSAE(n_latents=16, k=2, max_iter=5, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sae = sae.set_callbacks(Checkpoint(folder)).fit(X)
    >>> sae.n_iter_
    5
    """

    max_propagation_depth = None

    @validate_params(
        {
            "folder": [str, os.PathLike],
            "interval": [Interval(Real, 0, None, closed="left")],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(self, folder, interval=600.0):
        self.folder = folder
        self.interval = interval

    def __repr__(self):
        return f"Checkpoint({os.fspath(self.folder)!r}, interval={self.interval})"

    def setup(self, estimator, context):
        """Note the seeds of the fit.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """
        params = estimator.get_params()
        self._seeds = {
            name: in_a_word(value)
            for name, value in params.items()
            if name.split("__")[-1] == "random_state"
        }

    def teardown(self, estimator, context):
        """Do nothing: what a failed fit has saved stays.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """

    def on_fit_task_begin(self, estimator, context):
        """Do nothing: a fit asks for its state itself.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """

    def on_fit_task_end(self, estimator, context):
        """Remove the files once the whole fit is done.

        Parameters
        ----------
        estimator : estimator instance
            The estimator that is fitted.

        context : CallbackContext
            The task of the fit.
        """
        if context.parent is None and peers().rank == 0:
            try:
                for pattern in (f"*{_SUFFIX}", f".*{_SUFFIX}.*.part"):
                    for path in Path(self.folder).glob(pattern):
                        path.unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(
                    f"The states of a fit that is done could not be removed ({error}): "
                    "remove them before the next one.",
                    UserWarning,
                    stacklevel=2,
                )


def state_file(checkpoint, context, what, peers=ALONE):
    """Where the fit of a task keeps its state; `what` describes the fit."""
    places = []
    while context.parent is not None:
        name = context.source_task_name or context.task_name
        places.append(f"{quote(name, safe='')}-{context.task_id}")
        context = context.parent
    path = Path(checkpoint.folder, f"{'.'.join(reversed(places)) or 'fit'}{_SUFFIX}")
    what = {**what, **checkpoint._seeds}
    file = StateFile(path, checkpoint.interval, what, peers)
    file.others_follow = bool(places)
    return file


class StateFile:
    """The state of one fit on the disk, and the state before it."""

    def __init__(self, path, interval, what, peers):
        self.path, self.interval, self.what, self.peers = path, interval, what, peers
        self.before = path.with_name(f"{path.stem}.before{_SUFFIX}")
        self.last = time.monotonic()
        self.others_follow = True

    def load(self):
        """Numbers and arrays of the newest state of this fit, None if there is none."""
        folder = self.path.parent
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"Checkpoint needs a folder, but {str(folder)!r} is a file."
            )
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.path.parent.glob(f".{self.path.name}.*.part"):
            if time.time() - unfinished.stat().st_mtime > _LONGEST_WRITE:
                unfinished.unlink(missing_ok=True)
        found = [path for path in (self.path, self.before) if path.exists()]
        damages = []
        for path in found:
            try:
                header, arrays = _read(path)
            except (OSError, ValueError, RecursionError, SafetensorError) as error:
                damages.append(f"{path.name}: {error}")
                continue
            if damages:
                warnings.warn(
                    f"The newest state of a fit in {str(path.parent)!r} is damaged "
                    f"({damages[0]}); the fit goes on from the one before.",
                    UserWarning,
                    stacklevel=2,
                )
                path.replace(self.path)
            self._check(header)
            logger.info("going on from %s", self.path)
            return header.get("state"), arrays
        if damages:
            raise ValueError(
                f"All states of a fit in {str(self.path.parent)!r} are damaged "
                f"({'; '.join(damages)}). Delete them to begin anew."
            )
        return None

    @contextmanager
    def restoring(self):
        """Name the file if a fit cannot go on from what it holds."""
        try:
            yield
        except _BAD_STATE as error:
            raise ValueError(
                f"{str(self.path)!r} does not hold a state of this fit ({error!r}). "
                "Delete it to begin anew."
            ) from error

    def _check(self, header):
        """Refuse the state of another fit."""
        if header.get("format") != _FORMAT:
            raise ValueError(
                f"{str(self.path)!r} was written by skxsae {header.get('version')} in "
                f"another format. Delete it to begin anew, or go on with that version."
            )
        saved = header.get("what")
        saved = saved if isinstance(saved, dict) else {}
        for name, value in json.loads(json.dumps(self.what)).items():
            if saved.get(name) != value:
                raise ValueError(
                    f"{str(self.path)!r} is the state of another fit, whose {name} was "
                    f"{saved.get(name)!r} and is {value!r} now. Go on with what it "
                    "was, give another folder, or delete the file to begin anew."
                )

    def offer(self, make_state):
        """Save what `make_state` returns, if it is time."""
        if self.peers.rank == 0 and time.monotonic() - self.last >= self.interval:
            self.save(make_state())
            self.last = time.monotonic()

    def finish(self, state):
        """Save the state of a fit that is done, if others are not."""
        if self.others_follow:
            self.save(state)

    def save(self, state):
        """Write numbers and arrays, or warn that it was not possible."""
        if self.peers.rank != 0:
            return
        numbers, arrays = state
        arrays = {name: np.asarray(part, order="C") for name, part in arrays.items()}
        header = {
            "format": _FORMAT,
            "version": __version__,
            "what": self.what,
            "state": numbers,
        }
        header["checksum"] = _checksum(header, arrays)
        try:
            with replacing(self.path) as unfinished:
                # save_file leaves a file of its own behind when it is killed
                unfinished.write_bytes(save(arrays, {"skxsae": json.dumps(header)}))
                if self.path.exists():
                    os.replace(self.path, self.before)
        except (OSError, SafetensorError) as error:
            there = self.path.exists() or self.before.exists()
            kept = "The one before is kept" if there else "There is none before it"
            warnings.warn(
                f"The state of a fit could not be written to {str(self.path)!r} "
                f"({error}). {kept}, and the fit goes on.",
                UserWarning,
                stacklevel=2,
            )


def _read(path):
    """Header and arrays of a file that is whole."""
    with safe_open(path, "numpy") as file:
        header = json.loads((file.metadata() or {}).get("skxsae", ""))
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    checksum = header.pop("checksum", None) if isinstance(header, dict) else None
    if checksum != _checksum(header, arrays):
        raise ValueError("its checksum is wrong")
    return header, arrays


def _checksum(header, arrays):
    """CRC-32 of a header, and of names, types, shapes and numbers of arrays."""
    checksum = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        head = json.dumps([name, array.dtype.str, array.shape])
        checksum = zlib.crc32(array.tobytes(), zlib.crc32(head.encode(), checksum))
    return checksum
