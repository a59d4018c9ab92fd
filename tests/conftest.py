import os

# scikit-learn skips its array API checks unless this is set before SciPy's import
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features

torch.set_num_threads(1)
# how long an example takes depends on what else runs
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")


@pytest.fixture(autouse=True)
def _gpu_tests_need_a_gpu(request):
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


@pytest.fixture(scope="session")
def planted():
    """Pairs of known concepts with captions that name them, and a model of them."""
    data = make_paired_features(
        3000,
        32,
        n_shared=24,
        n_x_only=6,
        n_y_only=6,
        sparsity=0.9,
        max_interference=0.7,
        random_state=0,
    )
    words = np.array([f"word{i}" for i in range(36)])
    data.words = words
    data.x_captions, data.texts = (
        [" ".join(words[row > 0]) for row in codes.toarray()]
        for codes in (data.x_codes, data.y_codes)
    )
    sae = TopKSAE(48, 4, max_iter=60, batch_size=256, learning_rate=3e-3)
    data.model = PostHocAlignedSAE(x_sae=sae, y_sae=sae, random_state=0)
    data.model.fit(data.X, data.y)
    return data
