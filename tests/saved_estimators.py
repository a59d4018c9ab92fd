"""Estimators of numbers that are exact everywhere, and the files of each format.

``python tests/saved_estimators.py`` writes the files of the current format, which have
to be read ever after: those of a format that was released are never written again.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

import skxsae
from skxsae import (
    Coactivation,
    CoactivationMatcher,
    PairedSAE,
    PostHocAlignedSAE,
    TopKSAE,
)
from skxsae._from_arrays import topk_sae_from_arrays
from skxsae._saving._files import FORMAT
from skxsae._translation import Translation
from skxsae.baselines import SparseBaseline
from skxsae.interventions import ModalityFilter, ModalityGapRemover
from skxsae.search import ConceptIndex

FOLDER = Path(__file__).parent / "saved"
N_FEATURES = 4


def numbers(*shape, dtype=np.float32):
    """Multiples of 1/8."""
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 13 / 8 - 0.5).astype(
        dtype
    )


def sae(n_latents=3, **options):
    components = np.eye(n_latents, N_FEATURES, dtype=np.float32)
    return topk_sae_from_arrays(
        **{
            "components": components,
            "encoder": numbers(n_latents, N_FEATURES),
            "encoder_bias": numbers(n_latents),
            "mean": numbers(N_FEATURES),
            "k": 2,
            **options,
        }
    )


def with_attributes(estimator, **attributes):
    estimator.__dict__.update(attributes)
    return estimator


def matcher():
    """Latents 1 and 0 of three are matched to latents 0 and 2 of three."""
    return with_attributes(
        CoactivationMatcher(assignment="soft", min_score=0.25),
        matching_=np.array([1, -1, 0], dtype=np.intp),
        scores_=np.array([0.75, np.nan, 0.5]),
        margins_=np.array([0.25, np.nan, -0.125]),
        mutual_=np.array([True, False, False]),
        min_score_=np.float64(0.25),
        gap_=0.0,
        noise_floor_=0.625,
        null_scores_=numbers(5, dtype=np.float64),
        n_null_=2,
        share_without_partner_=0.5,
        above_noise_=np.array([True, False, False]),
        false_match_share_=np.array([0.125, np.nan, 0.5]),
        score_intervals_=np.full((3, 2), np.nan),
        unmatched_=np.array([2]),
        translation_=Translation(numbers(3, 2), numbers(3, 2), 2, 0.5),
        reference_translation_=Translation(numbers(3, 2), numbers(3, 2), 2, 0.5),
        n_features_in_=3,
    )


def post_hoc():
    wide = Translation(numbers(6, 2), numbers(6, 2), 2, 0.5)
    x_sae, y_sae = (
        with_attributes(sae(6, components=np.eye(6, N_FEATURES)), translation_=wide)
        for _ in "xy"
    )
    matches = pd.DataFrame(
        {
            "x_latent": np.array([0, 2]),
            "y_latent": np.array([1, 0]),
            "correlation": [0.75, 0.5],
            "low": [np.nan, np.nan],
            "high": [np.nan, np.nan],
            "margin": [0.25, -0.125],
            "mutual": [True, False],
            "above_noise": [True, False],
            "false_match_share": [0.125, 0.5],
            "decoder_cosine": [0.0, 0.0],
        }
    )
    return with_attributes(
        PostHocAlignedSAE(matcher=CoactivationMatcher(assignment="soft")),
        x_sae_=x_sae,
        y_sae_=y_sae,
        matcher_=matcher(),
        matches_=matches,
        n_aligned_=6,
        n_iter_=0,
        n_features_in_=N_FEATURES,
    )


def baseline():
    attributes = dict(vars(sae()))
    for name in TopKSAE().get_params():
        attributes.pop(name)
    for name in ("activation_", "loss_curve_"):
        del attributes[name]
    return with_attributes(SparseBaseline("kmeans", 3, 2), **attributes)


def estimators():
    """Estimators by the names of their files."""
    codes = sparse.csr_array(np.maximum(numbers(5, 3, dtype=np.float64), 0))
    return {
        "topk_sae": with_attributes(
            sae(activation="batch_topk", threshold=0.25),
            normalize="standard",
            offset_=numbers(N_FEATURES),
            scale_=numbers(N_FEATURES) + 2,
            feature_names_in_=np.array(["a", "b", "ç", "d"], dtype=object),
            random_state=np.random.RandomState(7),
        ),
        "jumprelu_sae": sae(activation="jumprelu", threshold=numbers(3) + 1),
        "sparse_baseline": baseline(),
        "paired_sae": with_attributes(
            PairedSAE(coupling="crosscoder", device="cuda"),
            coupling_="crosscoder",
            x_sae_=sae(),
            y_sae_=sae(),
            n_iter_=3,
            loss_curve_=[0.5, 0.25, 0.125],
            n_features_in_=N_FEATURES,
            _n_features_of_y=N_FEATURES,
        ),
        "post_hoc_aligned_sae": post_hoc(),
        "modality_filter": with_attributes(
            ModalityFilter(tau=0.125),
            modality_scores_=np.array([0.5, np.nan, 1.0]),
            support_=np.array([True, False, False]),
            n_features_in_=3,
        ),
        "modality_gap_remover": ModalityGapRemover().fit(numbers(4, 2), numbers(2, 3)),
        "concept_index": with_attributes(
            ConceptIndex(n_reasons=2),
            n_items_=5,
            names_=np.array(["red", "1", "round"], dtype=object),
            n_features_in_=3,
            _items=codes,
            _items_by_concept=sparse.csr_array(codes.T),
        ),
        "coactivation": Coactivation.from_codes(codes, codes),
    }


def main():
    """Write the files of the current format."""
    folder = FOLDER / f"format_{FORMAT}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, estimator in estimators().items():
        skxsae.save(estimator, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
