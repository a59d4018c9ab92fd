"""What a fitted autoencoder does to new samples, block by block on a device."""

from collections.abc import Iterable

import numpy as np
import torch
from scipy import sparse
from sklearn import get_config

from skxsae._activations import Codes, above_threshold, topk
from skxsae._functional import pre_activations, weighted_sum
from skxsae._validation import resolve_device
from skxsae._views import View, as_tensor, row_blocks


class Encoder:
    """The weights of a fitted autoencoder beside the samples that it encodes."""

    def __init__(self, sae, X, device: str):
        self.sae = sae
        self.view = View(X, sae._normalization(), resolve_device(device))
        self.encoder, self.bias, self.decoder, self.mean = (
            self.view.beside(as_tensor(weight))
            for weight in (
                sae.encoder_,
                sae.encoder_bias_,
                sae.components_,
                sae.mean_,
            )
        )

    def _blocks(self):
        """Normalised rows and the values and numbers of their active latents."""
        for rows in row_blocks(self.view.X, width=len(self.encoder)):
            block = self.view[rows]
            yield block, *self._active(block)

    @torch.no_grad()
    def _active(self, rows: torch.Tensor) -> Codes:
        """Values and numbers of the active latents, padded with zeros."""
        pre = pre_activations(rows - self.mean, self.encoder, self.bias)
        if self.sae.activation_ == "batch_topk":
            return above_threshold(pre, self.sae.threshold_)
        return topk(pre, self.sae.k_)

    def codes(self) -> sparse.csr_array:
        """Codes as a canonical CSR array."""
        blocks = ((values, latents) for _, values, latents in self._blocks())
        return csr_from_blocks(blocks, (len(self.view), len(self.encoder)))

    def explained_variance(self) -> float:
        """1 minus the squared error over the total variance of the samples."""
        mean, variance = self.view.moments()
        error = 0.0
        for rows, values, latents in self._blocks():
            rebuilt = self.mean + weighted_sum(values, latents, self.decoder)
            error += float((rows - rebuilt).double().square().sum())
        if variance == 0:
            # constant samples: rebuilt, but for rounding, or not
            return float(error <= self.view.rounding(mean))
        return 1 - error / variance


def csr_from_blocks(blocks: Iterable[Codes], shape: tuple) -> sparse.csr_array:
    """The positive values of consecutive blocks of rows as a canonical CSR array."""
    data, indices, counts = [], [], []
    for values, latents in blocks:
        active = values > 0
        counts.append(active.sum(1).cpu().numpy())
        data.append(values[active].cpu().numpy())
        indices.append(latents[active].int().cpu().numpy())
    indptr = np.concatenate([[0], np.concatenate(counts).cumsum()])
    codes = sparse.csr_array(
        (np.concatenate(data), np.concatenate(indices), indptr.astype(np.int64)), shape
    )
    codes.sort_indices()
    return codes


def as_container(codes: sparse.csr_array, sparse_output: bool):
    """Codes as an ndarray, or in scikit-learn's configured sparse container."""
    if not sparse_output:
        return codes.toarray()
    if get_config()["sparse_interface"] == "sparray":
        return codes
    return sparse.csr_matrix(codes)
