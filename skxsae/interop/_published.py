"""Autoencoders as other libraries write them, before they become ours."""

from dataclasses import dataclass

import numpy as np

# norms of decoder rows that differ by less are those of one constraint, rounded
_SAME_NORM = 1e-3


@dataclass
class Published:
    """An autoencoder in the words of its own library.

    Pre-activations are ``encoder @ x + encoder_bias``, of x minus `decoder_bias` if
    that is `centred`, and codes ``z`` are decoded as ``decoder.T @ z + decoder_bias``.
    """

    encoder: np.ndarray  # (m, d)
    encoder_bias: np.ndarray  # (m,)
    decoder: np.ndarray  # (m, d), of any norm
    decoder_bias: np.ndarray  # (d,)
    activation: str
    centred: bool = True
    k: int | None = None
    default_k: int | None = None  # what the original takes where nobody says it
    threshold: np.ndarray | None = None  # () or (m,), what a pre-activation must exceed
    scaled_picks: bool = False  # whether the largest are so times the decoder's norm

    def check_shapes(self):
        """Refuse weights whose shapes do not go together."""
        shape = self.decoder.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"The decoder has shape {shape}, but is a matrix.")
        for name, wanted in (
            ("encoder", shape),
            ("encoder_bias", shape[:1]),
            ("decoder_bias", shape[1:]),
        ):
            if (found := getattr(self, name).shape) != wanted:
                raise ValueError(
                    f"The {name.replace('_', ' ')} has shape {found}, but {wanted} is "
                    f"what goes with a decoder of {shape[0]} latents and {shape[1]} "
                    "features."
                )
        if self.threshold is not None and self.threshold.shape not in ((), shape[:1]):
            raise ValueError(
                f"The threshold has shape {self.threshold.shape}, but {shape[:1]} is "
                "what goes with the decoder."
            )

    def in_unit_norm(self):
        """The same with a decoder whose rows have unit norm, as those of a TopKSAE.

        Codes are multiplied by the norms of the rows that decode them.
        """
        scale = self._scale()
        threshold, activation = self.threshold, self.activation
        if threshold is not None:
            threshold = np.maximum(threshold, 0.0) * scale
            if activation == "batch_topk" and np.ptp(threshold) == 0:
                threshold = threshold[0]
            elif activation == "batch_topk":
                activation = "jumprelu"
        bias = self.encoder_bias
        if not self.centred:
            # encoder @ x = encoder @ (x - decoder_bias) + encoder @ decoder_bias
            bias = bias + self.encoder @ self.decoder_bias
        column = scale.astype(self.decoder.dtype)[:, None]
        return {
            "components": self.decoder / np.where(column > 0, column, 1),
            "encoder": self.encoder * column,
            "encoder_bias": bias * scale,
            "mean": self.decoder_bias,
            "activation": activation,
            "threshold": threshold,
        }

    def _scale(self):
        """What the code of each latent is multiplied by: (m,)."""
        norms = np.linalg.norm(self.decoder.astype(np.float64), axis=1)
        if self.activation in ("relu", "jumprelu") or self.scaled_picks:
            return norms
        # one factor for all, so that the largest stay the largest
        common = self._common_norm(norms)
        if common is not None:
            return np.full_like(norms, common)
        if self.activation == "batch_topk":  # a threshold for each will do
            return norms
        raise ValueError(
            "The rows of the decoder have norms from "
            f"{norms[norms > 0].min():.3g} to {norms.max():.3g}, and the largest "
            "activations are picked without regard to them. A TopKSAE, whose rows "
            "have unit norm, would pick others: such weights cannot be loaded."
        )

    @staticmethod
    def _common_norm(norms):
        """The one norm of all rows, but for zeros and rounding; None if they differ."""
        norms = norms[norms > 0]
        if not len(norms):
            return 1.0
        if norms.max() > (1 + _SAME_NORM) * norms.min():
            return None
        return norms.mean()
