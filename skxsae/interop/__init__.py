"""Other people's autoencoders as ours, and ours where there is no skxsae."""

from skxsae.interop._export import to_onnx, to_torch
from skxsae.interop._loading import load_sae
from skxsae.interop._torch_sae import TorchSAE

__all__ = ["TorchSAE", "load_sae", "to_onnx", "to_torch"]
