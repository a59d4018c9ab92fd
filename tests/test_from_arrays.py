import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae._from_arrays import topk_sae_from_arrays

X = np.random.default_rng(0).normal(size=(60, 6))


def arrays_of(sae, **others):
    """What makes the same autoencoder again."""
    return {
        "components": sae.components_,
        "encoder": sae.encoder_,
        "encoder_bias": sae.encoder_bias_,
        "mean": sae.mean_,
        "k": sae.k_,
        "activation": sae.activation_,
        "threshold": getattr(sae, "threshold_", None),
        **others,
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["topk", "batch_topk", "relu", "jumprelu"])
def test_the_arrays_of_a_model_make_the_same_model(activation, dtype):
    rows = X.astype(dtype)
    sae = TopKSAE(
        8, 2, activation=activation, normalize=None, max_iter=2, batch_size=16
    ).fit(rows)
    made = topk_sae_from_arrays(**arrays_of(sae))
    assert made.get_params()["normalize"] is None
    assert made.components_.dtype == dtype
    assert (made.transform(rows) != sae.transform(rows)).nnz == 0
    assert made.score(rows) == sae.score(rows)


def test_nothing_is_done_to_samples():
    made = topk_sae_from_arrays(
        components=np.eye(6),
        encoder=np.eye(6),
        encoder_bias=np.zeros(6),
        mean=np.zeros(6),
        k=6,
    )
    np.testing.assert_allclose(made.transform(X).toarray(), np.maximum(X, 0))


@pytest.mark.filterwarnings("ignore:Only .* matches score above the noise")
def test_it_is_a_part_like_others():
    sae = TopKSAE(8, 2, max_iter=2, batch_size=16).fit(X)
    made = FrozenEstimator(topk_sae_from_arrays(**arrays_of(sae)))
    aligned = PostHocAlignedSAE(x_sae=made, y_sae=made, random_state=0).fit(X, X)
    codes = aligned.transform(X, X)
    n_matched = len(aligned.matches_)
    assert n_matched > 0
    matched = aligned.matches_["x_latent"]
    assert (codes[0][:, matched] != codes[1][:, matched]).nnz == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.0}, "has threshold_ with activation_='topk'"),
        ({"activation": "jumprelu"}, "lacks threshold_"),
        ({"activation": "gelu"}, "'activation' parameter"),
        ({"mean": np.zeros(3)}, r"mean_ has the shape \(3,\), not \(6,\)"),
        ({"encoder": np.full((8, 6), np.nan)}, "encoder_ has a NaN"),
        ({"components": 2 * np.eye(8, 6)}, "length 2 in row 0"),
        ({"components": np.eye(8, 6, dtype=int)}, "type int64"),
        ({"components": np.ones(6)}, "1 dimensions"),
        ({"k": 9}, "k_=9 of 8 latents"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(change, message):
    sae = TopKSAE(8, 2, max_iter=2, batch_size=16).fit(X)
    with pytest.raises(ValueError, match=message):
        topk_sae_from_arrays(**arrays_of(sae, **change))
