"""Fitted estimators as plain torch modules and as ONNX files."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import check_is_fitted

from skxsae._encoding import Encoder
from skxsae._replacing import replacing
from skxsae._topk_sae import TopKSAE
from skxsae._views import as_tensor
from skxsae.baselines import SparseBaseline
from skxsae.interop._torch_sae import TorchSAE

_OPSET = 18
_LARGEST_FILE = 2**31 - 2**20  # bytes of weights, for those of one protobuf


def to_torch(estimator):
    """Copy a fitted autoencoder into a plain torch module.

    The module has no skxsae inside: normalisation, encoder, activation, translation
    and decoder are all there, in the file of one class that imports torch alone.

    Parameters
    ----------
    estimator : TopKSAE or SparseBaseline
        A fitted estimator of one view; of an estimator of two views its ``x_sae_`` or
        ``y_sae_``.

    Returns
    -------
    module : TorchSAE
        Its `encode` is `transform` with dense codes, its `decode` is
        `inverse_transform`, up to rounding, in the floating type of the weights.
        Products are exact whatever the `precision` of the estimator, and of latents
        that tie for the last of `k` places another one may be picked.

    Raises
    ------
    TypeError
        If `estimator` is of another kind.
    ValueError
        If codes are found by orthogonal matching pursuit, whose number of steps depends
        on the sample.

    See Also
    --------
    to_onnx : A file for runtimes without torch.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.interop import to_torch
    >>> X = make_paired_features(500, n_features=16, n_shared=16, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0).X.astype(np.float32)
    >>> sae = TopKSAE(32, 4, max_iter=10, random_state=0).fit(X)
    >>> codes = to_torch(sae).encode(torch.from_numpy(X))
    >>> bool(np.allclose(codes, sae.transform(X).toarray(), atol=1e-5))
    True
    """
    _check_estimator(estimator)
    dtype = estimator.components_.dtype
    n_latents, n_features = estimator.components_.shape
    fitted = Encoder(estimator, np.zeros((1, n_features), dtype), "cpu")
    translation = getattr(estimator, "translation_", None)
    module = TorchSAE(
        n_features,
        n_latents,
        activation=_activation(fitted.algorithm),
        k=int(estimator.k_),
        unit_length=bool(estimator.unit_length_),
        positive=bool(estimator.positive_code),
        rank=0 if translation is None else translation.source.shape[1],
        n_translated=0 if translation is None else int(translation.n_active),
    ).to(fitted.encoder.dtype)
    _set(
        module,
        offset=fitted.view.offset,
        scale=fitted.view.scale,
        mean=fitted.mean,
        encoder=fitted.encoder,
        bias=fitted.bias,
        threshold=fitted.threshold,
        decoder=fitted.decoder,
    )
    if translation is not None:
        source, target = map(as_tensor, (translation.source, translation.target))
        _set(module, source=translation.weight * source, target=target)
    return module.eval()


@validate_params(
    {"path": [str, os.PathLike], "reconstruction": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def to_onnx(estimator, path, *, reconstruction=True):
    """Write a fitted autoencoder as an ONNX file, for serving without Python.

    Input "x" has any number of samples; output "codes" is dense, and "reconstruction"
    is in the units of the input. All of it is float32.

    Parameters
    ----------
    estimator : TopKSAE or SparseBaseline
        A fitted estimator of one view, see :func:`to_torch`.

    path : str or path-like
        File to write, by convention with the suffix ``.onnx``, in a folder that exists.
        Weights of 2 GB and more go to a second file beside it, whose name ends in
        ``.data``.

    reconstruction : bool, default=True
        Whether there is a second output with the reconstructions.

    Raises
    ------
    FileNotFoundError
        If there is no folder to write into.
    ImportError
        If onnx or onnxscript is not installed.
    TypeError, ValueError
        As of :func:`to_torch`.

    See Also
    --------
    to_torch : The module that is written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import onnxruntime
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.interop import to_onnx
    >>> X = make_paired_features(500, n_features=16, n_shared=16, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0).X.astype(np.float32)
    >>> sae = TopKSAE(32, 4, max_iter=10, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_onnx(sae, Path(folder) / "sae.onnx")
    ...     session = onnxruntime.InferenceSession(Path(folder) / "sae.onnx")
    >>> codes, rebuilt = session.run(None, {"x": X})
    >>> codes.shape, rebuilt.shape
    ((500, 32), (500, 16))
    """
    _check_onnx()
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder} to write {path} into.")
    module = to_torch(estimator).float()
    names = ["codes", "reconstruction"] if reconstruction else ["codes"]
    if not reconstruction:
        module = _Codes(module).eval()
    # two rows, for a batch of one is taken as a constant
    example = torch.zeros(2, estimator.components_.shape[1])
    with warnings.catch_warnings():
        # torch warns of what its own exporter does
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["x"],
            output_names=names,
            opset_version=_OPSET,
            dynamo=True,
            dynamic_shapes={"x": {0: torch.export.Dim("n_samples")}},
            verbose=False,
        )
    assert program is not None  # as it is for any format but ONNX
    n_bytes = sum(tensor.nbytes for tensor in module.buffers())
    if n_bytes > _LARGEST_FILE:
        program.save(path, external_data=True)
        return
    with replacing(path) as unfinished:
        program.save(unfinished, external_data=False)


class _Codes(torch.nn.Module):
    """The first half of an autoencoder."""

    def __init__(self, sae):
        super().__init__()
        self.sae = sae

    def forward(self, x):
        return self.sae.encode(x)


def _check_estimator(estimator):
    """Refuse what is not an autoencoder of one view, fitted."""
    if not isinstance(estimator, TopKSAE | SparseBaseline):
        hint = ""
        if hasattr(estimator, "x_sae_"):
            hint = " Export its x_sae_ and its y_sae_, each of which encodes one view."
        raise TypeError(
            f"estimator is a {type(estimator).__name__}, but must be a TopKSAE or a "
            f"SparseBaseline.{hint}"
        )
    check_is_fitted(estimator)


def _activation(algorithm):
    """What a torch module calls a way to find codes."""
    if algorithm == "omp":
        raise ValueError(
            "transform_algorithm='omp' cannot be exported: how many steps it takes "
            "depends on the sample. Set it to 'mp' or 'encoder'."
        )
    return {"topk": "topk", "mp": "matching_pursuit"}.get(algorithm, "threshold")


def _set(module, **tensors):
    """Copy tensors into buffers of a module."""
    for name, tensor in tensors.items():
        getattr(module, name).copy_(tensor)


def _check_onnx():
    """An error that names the extra to install, if an exporter's package is missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "to_onnx requires onnx and onnxscript: pip install 'skxsae[onnx]'."
        ) from error
