"""A fitted autoencoder in torch alone: this file can be copied to where it serves."""

import torch
from torch import nn

_ROUNDING = 10.0  # machine epsilons of an offset that a row is not told from
_ROUNDING_OF_PURSUIT = 8.0


class TorchSAE(nn.Module):
    """A sparse autoencoder as a plain torch module, for serving.

    :func:`to_torch` makes it of a fitted estimator. What remains is tensors and the
    few numbers of `config`, so that it can be saved and loaded without skxsae, and the
    file of this class needs nothing but torch. Codes are dense.

    Parameters
    ----------
    n_features : int
        Width of the samples.

    n_latents : int
        Width of the codes.

    activation : {"topk", "threshold", "matching_pursuit"}
        Which latents are active: the `k` with the largest positive pre-activations,
        those above a threshold, or those that `k` greedy steps pick.

    k : int, default=1
        Number of active latents of a sample. Not used by "threshold".

    unit_length : bool, default=False
        Whether samples are scaled to unit length.

    positive : bool, default=True
        Whether codes of matching pursuit are non-negative.

    rank : int, default=0
        Rank of what translates codes into latents of another view; 0 for none.

    n_translated : int, default=0
        Number of latents that are added to a code by translation.

    Attributes
    ----------
    config : dict
        The parameters above: ``TorchSAE(**config)`` takes the ``state_dict()``.

    Examples
    --------
    >>> import torch
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import make_paired_features
    >>> from skxsae.interop import TorchSAE, to_torch
    >>> X = make_paired_features(500, n_features=16, n_shared=16, n_x_only=0,
    ...     n_y_only=0, max_interference=0.7, random_state=0).X
    >>> module = to_torch(TopKSAE(32, 4, max_iter=10, random_state=0).fit(X))
    >>> copy = TorchSAE(**module.config)
    >>> copy.load_state_dict(module.state_dict())
    <All keys matched successfully>
    >>> codes, rebuilt = copy(torch.as_tensor(X, dtype=torch.float32))
    >>> codes.shape, rebuilt.shape
    (torch.Size([500, 32]), torch.Size([500, 16]))
    """

    offset: torch.Tensor  # (d,), as are scale and mean
    scale: torch.Tensor
    mean: torch.Tensor
    encoder: torch.Tensor  # (m, d), as is the decoder
    bias: torch.Tensor  # (m,), as is the threshold
    threshold: torch.Tensor
    decoder: torch.Tensor
    source: torch.Tensor  # (m, rank), as is the target
    target: torch.Tensor

    def __init__(
        self,
        n_features: int,
        n_latents: int,
        activation: str,
        k: int = 1,
        unit_length: bool = False,
        positive: bool = True,
        rank: int = 0,
        n_translated: int = 0,
    ):
        super().__init__()
        if activation not in ("topk", "threshold", "matching_pursuit"):
            raise ValueError(
                f"activation={activation!r} must be 'topk', 'threshold' or "
                "'matching_pursuit'."
            )
        self.activation = activation
        self.k = min(k, n_latents) if activation == "topk" else k
        self.unit_length = unit_length
        self.positive = positive
        self.n_translated = min(n_translated, n_latents)
        self.config = {
            "n_features": n_features,
            "n_latents": n_latents,
            "activation": activation,
            "k": k,
            "unit_length": unit_length,
            "positive": positive,
            "rank": rank,
            "n_translated": n_translated,
        }
        for name, shape in (
            ("offset", (n_features,)),
            ("scale", (n_features,)),
            ("mean", (n_features,)),
            ("encoder", (n_latents, n_features)),
            ("bias", (n_latents,)),
            ("threshold", (n_latents,)),
            ("decoder", (n_latents, n_features)),
            ("source", (n_latents, rank)),
            ("target", (n_latents, rank)),
        ):
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode samples and rebuild them from their codes.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            Samples, of the floating type of the module.

        Returns
        -------
        codes : tensor of shape (n_samples, n_latents)
            What :meth:`encode` returns.

        reconstruction : tensor of shape (n_samples, n_features)
            What :meth:`decode` makes of them.
        """
        codes = self.encode(x)
        return codes, self.decode(codes)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode samples, as the estimator's `transform` does.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : tensor of shape (n_samples, n_latents)
            Dense codes.
        """
        rows = self._normalised(x) - self.mean
        if self.activation == "matching_pursuit":
            codes = self._pursued(rows)
        else:
            pre = rows @ self.encoder.T + self.bias
            if self.activation == "topk":
                codes = self._largest(pre, self.k)
            else:
                codes = torch.where(pre > self.threshold, pre, torch.zeros_like(pre))
        if self.n_translated > 0:
            other = (codes @ self.source) @ self.target.T
            codes = codes + self._largest(other, self.n_translated)
        return codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode codes, as the estimator's `inverse_transform` does.

        Parameters
        ----------
        codes : tensor of shape (n_samples, n_latents)
            Codes.

        Returns
        -------
        reconstruction : tensor of shape (n_samples, n_features)
            Samples in the units of the input; a length that was taken away is 1.
        """
        return (codes @ self.decoder + self.mean) * self.scale + self.offset

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        """Samples as they were normalised at fit."""
        rows = (x - self.offset) / self.scale
        if self.unit_length:
            norms = rows.double().norm(dim=1, keepdim=True)
            # nothing but rounding is left of a sample that equals the offset
            rounding = (
                _ROUNDING * torch.finfo(rows.dtype).eps * self.offset.double().norm()
            )
            norms = torch.where(norms > rounding, norms, torch.ones_like(norms))
            rows = (rows / norms).to(rows.dtype)
        return rows

    def _largest(self, values: torch.Tensor, k: int) -> torch.Tensor:
        """The largest values of each row if they are positive, 0 elsewhere."""
        kept, latents = values.topk(k, dim=1)
        return torch.zeros_like(values).scatter(1, latents, kept.relu())

    def _pursued(self, rows: torch.Tensor) -> torch.Tensor:
        """Codes after `k` steps, each on the direction closest to what is left."""
        eps = torch.finfo(rows.dtype).eps
        rounding = _ROUNDING_OF_PURSUIT * eps * rows.norm(dim=1, keepdim=True)
        codes = torch.zeros_like(rows @ self.decoder.T)
        for _ in range(self.k):
            products = rows @ self.decoder.T
            strength = products if self.positive else products.abs()
            best, pick = strength.max(dim=1, keepdim=True)
            step = products.gather(1, pick)
            step = torch.where(best > rounding, step, torch.zeros_like(step))
            codes = codes.scatter_add(1, pick, step)
            rows = rows - step * self.decoder[pick[:, 0]]
        return codes
