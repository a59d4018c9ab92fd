"""Fitted estimators as files that run no code when they are read."""

from pathlib import Path
from tempfile import TemporaryDirectory

from skxsae._coactivation import Coactivation
from skxsae._hub import download, is_on_hub, upload
from skxsae._model_card import model_card
from skxsae._saving._checks import told
from skxsae._saving._contents import ESTIMATORS
from skxsae._saving._files import ARRAYS, model_file, read_model, write_model
from skxsae._saving._values import decode, encode
from skxsae._version import __version__

__all__ = ["load", "save"]

_SAVED = (*ESTIMATORS, Coactivation)


def save(estimator, path):
    """Save an estimator to a file or a folder that is safe to read.

    All that the estimator is goes into one safetensors file: arrays as they are, and
    JSON with its class, parameters and other attributes. What is loaded is equal bit
    for bit, a stream of `partial_fit` goes on where it was, and the same estimator
    always makes the same file. Callbacks are not saved.

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
        does not fit the others.

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
    if type(estimator) not in _SAVED:
        names = ", ".join(cls.__name__ for cls in _SAVED)
        raise TypeError(
            f"estimator is a {type(estimator).__name__}, but only these can be saved: "
            f"{names}. Of a pipeline or a search, pass the step or the "
            "best_estimator_; joblib saves all, in files to be trusted."
        )
    if is_on_hub(path):
        _save_on_hub(estimator, path)
        return
    arrays: dict = {}
    node = encode(estimator, "", arrays)
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
        If the file is damaged, was written by a later version, or is something else.

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
    document, arrays = read_model(
        download(path, ARRAYS) if is_on_hub(path) else model_file(path)
    )
    try:
        estimator = decode(document.get("estimator"), arrays)
        if type(estimator) not in _SAVED:
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


def _set_device(estimator, device):
    """Give an estimator, and all that it holds, another device."""
    if type(estimator) not in ESTIMATORS:
        return
    if "device" in estimator.get_params(deep=False):
        estimator.set_params(device=device)
    for value in vars(estimator).values():
        _set_device(value, device)
