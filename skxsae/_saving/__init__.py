"""Fitted estimators as files that run no code when they are read."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from skxsae._hub import download, is_on_hub, upload
from skxsae._saving._checks import told
from skxsae._saving._contents import ESTIMATORS
from skxsae._saving._files import ARRAYS, model_file, read_model, write_model
from skxsae._saving._model_card import model_card
from skxsae._saving._values import SAVED, decode, encode_estimator
from skxsae._version import __version__

__all__ = ["load", "model_card", "save"]


def save(estimator, path):
    """Save an estimator to a file or a folder that is safe to read.

    All that the estimator is goes into one safetensors file: arrays as they are, and
    JSON with its class, parameters and other attributes. What is loaded is equal bit
    for bit, and the same estimator always makes the same file.

    Not saved are callbacks, and what `partial_fit` keeps between two calls: rows that
    wait for a full batch, and the state of the optimiser. A loaded model goes on by
    `partial_fit` as one that was fitted does, with its weights and a new optimiser;
    what has not learnt from a batch yet is loaded as unfitted. Pickle and joblib keep
    all of it.

    Parameters
    ----------
    estimator : estimator instance or Coactivation
        A :class:`TopKSAE`, :class:`PairedSAE`, :class:`PostHocAlignedSAE`,
        :class:`CoactivationMatcher`, :class:`baselines.SparseBaseline`,
        :class:`interventions.ModalityFilter`,
        :class:`interventions.ModalityGapRemover` or :class:`search.ConceptIndex`,
        fitted or not, by itself or in a
        :class:`~sklearn.frozen.FrozenEstimator`, or sums over codes.

    path : str or path-like
        A file, if it ends in ".safetensors", or a folder, which is made if it is not
        there: it gets ``model.safetensors``, which is complete in itself, and
        ``model.json``, a copy of the JSON to read. They replace older ones once they
        are on the disk as a whole. Or ``"hf://user/model"``, a repository of the
        Hugging Face Hub, with a branch behind an ``@`` if need be: it gets the files of
        a folder, and the :func:`model_card` as its README. One that is not there is
        made, as visible as your settings there say. Who you are is for
        huggingface_hub to find out.

    Raises
    ------
    ImportError
        If huggingface_hub, which the hub needs, is not installed.

    TypeError
        If the estimator is of another class, also one derived from these.

    ValueError
        If an attribute or a parameter has no place in a file, such as a function, or
        does not fit the others, or if an address of the hub is none.

    OSError
        If the path cannot be written, such as FileNotFoundError if the folder that it
        is in is not there.

    See Also
    --------
    load : Load what was saved.
    model_card : A page that tells what a model is.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import skxsae
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> sae = skxsae.TopKSAE(n_latents=16, k=2, max_iter=5, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skxsae.save(sae, f"{folder}/sae.safetensors")
    ...     loaded = skxsae.load(f"{folder}/sae.safetensors")
    >>> (loaded.transform(X) != sae.transform(X)).nnz
    0
    """
    if is_on_hub(path):
        _save_on_hub(estimator, path)
        return
    node, arrays = encode_estimator(estimator)
    write_model(path, {"estimator": node}, arrays)


def _save_on_hub(estimator, address):
    """Upload the files of a folder, with a page beside them."""
    with TemporaryDirectory() as folder:
        save(estimator, folder)
        card = model_card(estimator, address)
        (Path(folder) / "README.md").write_text(card, encoding="utf-8")
        upload(address, folder, f"{type(estimator).__name__} of skxsae {__version__}")


def load(path, *, device=None):
    """Load what :func:`save` has saved.

    Nothing that a file says is run, and what does not fit together is refused: files
    from anywhere can be loaded. No GPU is needed, whatever the model was trained on.

    Parameters
    ----------
    path : str or path-like
        A file, or a folder with a ``model.safetensors``, or ``"hf://user/model"``, with
        a branch, a tag or a commit behind an ``@`` if need be.

    device : str or None, default=None
        Torch device that the loaded estimators have as their `device`; None leaves
        what was saved. A model that was fitted with ``device="cuda"`` needs "cpu" or
        "auto" to encode where there is no GPU.

    Returns
    -------
    estimator : estimator instance or Coactivation
        What was saved, with arrays of its own.

    Raises
    ------
    ImportError
        If huggingface_hub, which the hub needs, is not installed.

    FileNotFoundError
        If there is no such file.

    ValueError
        If the file is damaged, was written by a later version, or is something else,
        or if `device` is no torch device.

    See Also
    --------
    save : Save an estimator.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import skxsae
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> sae = skxsae.TopKSAE(n_latents=16, k=2, max_iter=5, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skxsae.save(sae, f"{folder}/sae")
    ...     skxsae.load(f"{folder}/sae", device="cpu")
    TopKSAE(device='cpu', k=2, max_iter=5, n_latents=16, random_state=0)
    """
    if device is not None:
        _check_device(device)
    document, arrays = read_model(
        download(path, ARRAYS) if is_on_hub(path) else model_file(path)
    )
    try:
        estimator = decode(document.get("estimator"), arrays)
        if type(estimator) not in SAVED:
            raise ValueError(f"it holds no estimator, but {told(estimator)}")
        if arrays:
            raise ValueError(f"it does not say what the array {min(arrays)} is")
    except (ValueError, RecursionError) as error:
        writer = document.get("skxsae")
        raise ValueError(
            f"{path} cannot be loaded: {error}. It was written by skxsae "
            f"{told(writer)}, this is {__version__}. It is damaged or was edited, or "
            "needs another version."
        ) from error
    if device is not None:
        _set_device(estimator, device)
    return estimator


def _check_device(device):
    """Refuse what is no device, whether that is there or not."""
    if device == "auto":
        return
    try:
        if not isinstance(device, str):
            raise TypeError(f"it is of type {type(device).__name__}, not a str")
        torch.device(device)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"device={device!r} is not a torch device; use 'auto', 'cpu' or 'cuda'."
        ) from error


def _set_device(estimator, device):
    """Give an estimator, and all that it holds, another device."""
    if type(estimator) not in ESTIMATORS:
        return
    if "device" in estimator.get_params(deep=False):
        estimator.set_params(device=device)
    for value in vars(estimator).values():
        _set_device(value, device)
