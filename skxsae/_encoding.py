"""What a fitted autoencoder does to new samples, block by block on a device."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from sklearn import get_config

from skxsae._functional import weighted_sum
from skxsae._picking import Codes, Picker
from skxsae._pursuit import gram, matching_pursuit, orthogonal_matching_pursuit
from skxsae._validation import resolve_device
from skxsae._views import View, as_tensor, row_blocks

# what is done where nothing but the dictionary was trained
_OF_PURSUIT = {"auto": "mp", "encoder": "topk"}


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
        # they may have been set since the fit, which validates them
        sae._validate_params()
        self.algorithm = sae.transform_algorithm
        if self.algorithm in _OF_PURSUIT:
            pursuit = sae.activation_ == "matching_pursuit"
            self.algorithm = _OF_PURSUIT[self.algorithm] if pursuit else sae.activation_

    def _blocks(self):
        """Normalised rows and the values and numbers of their active latents."""
        width = max(self.encoder.shape)
        rest = list(row_blocks(self.view.X, width=width))[::-1]
        while rest:
            rows = rest.pop()
            try:
                block = self.view[rows]
                codes = self._active(block)
            except torch.OutOfMemoryError:
                if rows.stop - rows.start == 1:
                    raise
                middle = (rows.start + rows.stop) // 2
                rest += [slice(middle, rows.stop), slice(rows.start, middle)]
                continue
            yield block, *codes

    @cached_property
    def _picker(self) -> Picker:
        return Picker(self.encoder, self.bias, self.sae.precision)

    @cached_property
    def _gram(self) -> torch.Tensor:
        return gram(self.decoder)

    @cached_property
    def threshold(self) -> torch.Tensor:
        """What a pre-activation of each latent must exceed."""
        threshold = np.maximum(getattr(self.sae, "threshold_", 0.0), 0.0)
        threshold = np.broadcast_to(threshold, len(self.encoder))
        return self.view.beside(torch.from_numpy(np.array(threshold)))

    @torch.no_grad()
    def _active(self, rows: torch.Tensor) -> Codes:
        """Values and numbers of the active latents, padded with zeros."""
        rows, sae = rows - self.mean, self.sae
        if self.algorithm == "mp":
            return matching_pursuit(
                rows, self.decoder, self._gram, sae.k_, sae.positive_code
            )
        if self.algorithm == "omp":
            return orthogonal_matching_pursuit(rows, self.decoder, self._gram, sae.k_)
        if self.algorithm == "topk":
            k = min(sae.k_, len(self.encoder))
            values, indices = self._picker.largest(rows, k)
            return values.relu_(), indices
        return self._picker.above(rows, self.threshold)

    def codes(self) -> sparse.csr_array:
        """Codes as a canonical CSR array."""
        blocks = ((values, latents) for _, values, latents in self._blocks())
        return csr_from_blocks(blocks, (len(self.view), len(self.encoder)))

    def explained_variance(self, codes: sparse.csr_array | None = None) -> float:
        """1 minus the squared error over the total variance of the samples.

        Codes that are not given are computed.
        """
        mean, variance = self.view.moments
        error = 0.0
        for rows, rebuilt in self._rebuilt(codes):
            error += float((rows - rebuilt).double().square().sum())
        if variance == 0:
            # constant samples: rebuilt, but for rounding, or not
            return float(error <= self.view.rounding(mean))
        return 1 - error / variance

    def _rebuilt(self, codes: sparse.csr_array | None):
        """Normalised rows and their reconstructions."""
        if codes is None:
            for rows, values, latents in self._blocks():
                yield rows, self.mean + weighted_sum(values, latents, self.decoder)
            return
        for block in row_blocks(self.view.X):
            rebuilt = codes[block] @ self.decoder.cpu().numpy()
            yield self.view[block], self.mean + self.view.beside(as_tensor(rebuilt))


def csr_from_blocks(blocks: Iterable[Codes], shape: tuple) -> sparse.csr_array:
    """The nonzero values of consecutive blocks of rows as a canonical CSR array."""
    data, indices, counts = [], [], []
    for values, latents in blocks:
        active = values != 0
        counts.append(active.sum(1).cpu().numpy())
        data.append(values[active].cpu().numpy())
        indices.append(latents[active].int().cpu().numpy())
    indptr = np.concatenate([[0], np.concatenate(counts).cumsum()])
    # of one type, or SciPy would copy them, and of which there are never two of all
    index_dtype = np.int32 if max(indptr[-1], *shape) < 2**31 else np.int64
    codes = sparse.csr_array(
        (
            _joined(data),
            _joined(indices).astype(index_dtype, copy=False),
            indptr.astype(index_dtype),
        ),
        shape,
    )
    codes.sort_indices()
    return codes


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """All parts in one array, in place of them."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def as_container(codes: sparse.csr_array, sparse_output: bool):
    """Codes as an ndarray, or in scikit-learn's configured sparse container."""
    if not sparse_output:
        return codes.toarray()
    if get_config()["sparse_interface"] == "sparray":
        return codes
    return sparse.csr_matrix(codes)
