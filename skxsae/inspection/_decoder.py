"""What a fitted estimator decodes with, in the units of the input."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted

from skxsae._concepts import both_autoencoders
from skxsae._topk_sae import TopKSAE


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """Directions and constant of a decoder: ``codes @ components + intercept``.

    Parameters
    ----------
    components : ndarray of shape (n_latents, n_features)
        Direction of each latent, in the units of the input. A row of zeros is a latent
        that the view lacks.

    intercept : ndarray of shape (n_features,)
        What codes without any active latent are decoded to, in the units of the input.

    See Also
    --------
    decoder : Takes them from a fitted estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.inspection import DecoderWeights
    >>> DecoderWeights(np.eye(2), np.ones(2)).to_frame()
             0    1
    latent
    0      1.0  0.0
    1      0.0  1.0
    """

    components: np.ndarray
    intercept: np.ndarray

    def to_frame(self):
        """One row for each latent, one column for each feature.

        Returns
        -------
        DataFrame of shape (n_latents, n_features)
            The directions.
        """
        index = pd.RangeIndex(len(self.components), name="latent")
        return pd.DataFrame(self.components, index=index)


@validate_params(
    {"estimator": [HasMethods(["fit"])], "view": [StrOptions({"x", "y"})]},
    prefer_skip_nested_validation=True,
)
def decoder(estimator, view="x"):
    """Take the directions and the intercept of one view, for functions of arrays.

    Row j is the direction of column j of the codes that `transform` returns, and
    ``codes @ components + intercept`` is what `inverse_transform` returns. The scale
    that the estimator divides samples by is in the directions already, and its offset
    in the intercept. The fitted ``components_`` are of unit norm in normalised space
    instead.

    Parameters
    ----------
    estimator : TopKSAE, SparseBaseline, PairedSAE or PostHocAlignedSAE
        Fitted estimator, or a ``FrozenEstimator`` of one.

    view : {"x", "y"}, default="x"
        View that is decoded. An autoencoder of one view has "x" only; its directions
        are those of every view that it encodes.

    Returns
    -------
    weights : DecoderWeights
        ``components`` of shape (n_latents, n_features) and ``intercept`` of shape
        (n_features,), both in float64, with `to_frame`.

    Raises
    ------
    TypeError
        If the estimator has no decoder of the kind.

    ValueError
        If an autoencoder of one view is asked for "y".

    See Also
    --------
    skxsae.metrics.dictionary_report : What the directions of a dictionary are like.
    skxsae.metrics.insertion_score : Takes codes, directions and intercept.

    Notes
    -----
    Under ``normalize="l2"`` or "center_l2" a sample loses its length, and the decoder
    gives it back as 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae import PairedSAE
    >>> from skxsae.datasets import load_emoji
    >>> from skxsae.inspection import decoder
    >>> data = load_emoji(subset="train")
    >>> sae = PairedSAE(64, k=8, max_iter=5, random_state=0).fit(data.X, data.y)
    >>> codes_x, codes_y = sae.transform(data.X, data.y)
    >>> weights = decoder(sae, view="y")
    >>> weights.components.shape == (codes_y.shape[1], data.y.shape[1])
    True
    >>> decoded = codes_y @ weights.components + weights.intercept
    >>> np.allclose(decoded, sae.inverse_transform(codes_x, codes_y)[1], atol=1e-4)
    True
    """
    sae = _autoencoder_of(estimator, view)
    scale, offset = (np.asarray(part, np.float64) for part in (sae.scale_, sae.offset_))
    return DecoderWeights(
        sae.components_.astype(np.float64) * scale,
        sae.mean_.astype(np.float64) * scale + offset,
    )


def _autoencoder_of(estimator, view):
    """The fitted autoencoder of a view, its latents in the order of the codes."""
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if not isinstance(estimator, TopKSAE):
        saes = both_autoencoders(estimator, "PostHocAlignedSAE, PairedSAE or TopKSAE")
        return dict(zip("xy", saes, strict=True))[view]
    check_is_fitted(estimator)
    if view == "y":
        raise ValueError(
            f"view='y' must be 'x' for a {type(estimator).__name__}: it has one "
            "decoder, for all that it encodes."
        )
    return estimator
