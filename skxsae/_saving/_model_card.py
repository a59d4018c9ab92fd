"""What there is to say of a fitted estimator, as a page for people."""

import numpy as np
import sklearn
import torch
from sklearn import config_context

from skxsae._coactivation import Coactivation
from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._saving._values import encode_estimator
from skxsae._topk_sae import TopKSAE
from skxsae._version import __version__

_CARD = """\
---
library_name: skxsae
tags:
- skxsae
- sparse-autoencoder
- interpretability
---

# {name}

{summary}

## Use

```python
import skxsae

estimator = skxsae.load({path!r})
```

## What was fitted

| | |
|---|---|
{facts}

## Parameters

```python
{parameters}
```

## Versions

Written with skxsae {version}, scikit-learn {sklearn}, NumPy {numpy}, torch {torch}
"""


def model_card(estimator, path="model.safetensors"):
    """Tell in Markdown what an estimator is and what its training has come to.

    :func:`save` puts this page beside a model that goes to a hub.

    Parameters
    ----------
    estimator : estimator instance or Coactivation
        What :func:`save` takes.

    path : str, default="model.safetensors"
        Where readers of the page load the model from.

    Returns
    -------
    card : str
        The page, under a header in YAML as hubs of models read it.

    Raises
    ------
    TypeError, ValueError
        If :func:`save` would refuse the estimator.

    See Also
    --------
    save : Save an estimator.

    Examples
    --------
    >>> import numpy as np
    >>> import skxsae
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> sae = skxsae.TopKSAE(n_latents=16, k=2, max_iter=5, random_state=0).fit(X)
    >>> card = skxsae.model_card(sae, "hf://me/first-steps")
    >>> "| latents | 16 |" in card
    True
    """
    encode_estimator(estimator)  # refuses what cannot be saved
    rows = (f"| {name} | {value} |" for name, value in _facts(estimator).items())
    return _CARD.format(
        name=type(estimator).__name__,
        summary=(type(estimator).__doc__ or "").partition("\n")[0],
        path=str(path),
        facts="\n".join(rows),
        parameters=_parameters(estimator),
        version=__version__,
        sklearn=sklearn.__version__,
        numpy=np.__version__,
        torch=torch.__version__,
    )


def _parameters(estimator):
    """All parameters that are not the defaults."""
    if isinstance(estimator, Coactivation):
        return repr(estimator)
    with config_context(print_changed_only=True):
        return estimator.__repr__(N_CHAR_MAX=10**6)


def _facts(estimator):
    """Numbers by name, in the order of the page."""
    if isinstance(estimator, Coactivation):
        return {"pairs": estimator.x.n_samples}
    if isinstance(estimator, TopKSAE):
        return _facts_of_view(estimator)
    if isinstance(estimator, CoactivationMatcher):
        return _facts_of_matching(estimator)
    if not hasattr(estimator, "x_sae_"):
        width = getattr(estimator, "n_features_in_", None)
        return {} if width is None else {"features": width}
    x, y = _facts_of_view(estimator.x_sae_), _facts_of_view(estimator.y_sae_)
    facts = {f"{name} (x, y)": f"{x[name]}, {y.get(name, 'unknown')}" for name in x}
    if hasattr(estimator, "matcher_"):
        facts |= _facts_of_matching(estimator.matcher_)
    return facts


def _facts_of_view(sae):
    """Sizes of an autoencoder and how well it has learnt."""
    if not hasattr(sae, "components_"):
        return {}
    there = sae.components_.any(axis=1)
    facts = {
        "features": sae.n_features_in_,
        "latents": int(there.sum()),
        "active latents per sample": sae.k_,
        "activation": sae.activation_,
    }
    if not np.isnan(sae.reconstruction_err_):  # else made elsewhere
        facts |= {
            "passes, or batches of a stream": sae.n_iter_,
            "explained variance in training": f"{1 - sae.reconstruction_err_:.4f}",
            "dead latents": int((sae.dead_latents_ & there).sum()),
        }
    return facts


def _facts_of_matching(matcher):
    """How many latents were matched, and how surely."""
    if not hasattr(matcher, "matching_"):
        return {}
    return {
        "score of a match": matcher.metric,
        "assignment": matcher.assignment,
        "matched latents": int((matcher.matching_ >= 0).sum()),
        "matches above the noise": int(matcher.above_noise_.sum()),
        "noise floor": f"{matcher.noise_floor_:.4f}",
    }
