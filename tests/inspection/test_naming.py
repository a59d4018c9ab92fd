"""Names of concepts, judged by dense float64 NumPy and by captions that are known."""

import copy

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import normalize

from skxsae import CoactivationMatcher, PairedSAE, TopKSAE
from skxsae.inspection import name_latents
from skxsae.inspection._naming import _by_correlation, _name_table


def planted_concept(directions, features):
    """The concept of known direction nearest to each latent, and the cosine."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = np.divide(
        features, lengths, out=np.zeros_like(features), where=lengths > 0
    )
    cosines = directions @ features.T
    return cosines.argmax(axis=1), cosines.max(axis=1)


def recovered(planted, view):
    """Latents of a view that recovered a concept, and the word for it."""
    sae = planted.model.x_sae_ if view == "x" else planted.model.y_sae_
    features = planted.x_features if view == "x" else planted.y_features
    concept, cosine = planted_concept(sae.components_, features)
    latents = np.flatnonzero(cosine > 0.97)
    assert len(latents) > 20
    return latents, planted.words[concept[latents]]


def share_of_right_names(names, latents, words):
    return np.mean(names["name"].reindex(latents).to_numpy() == words)


@pytest.mark.parametrize("view", ["x", "y"])
def test_terms_of_captions_name_the_concepts(planted, view):
    X, texts = (
        (planted.X, planted.x_captions) if view == "x" else (planted.y, planted.texts)
    )
    names = name_latents(planted.model, X, texts, view=view)
    latents, words = recovered(planted, view)
    assert share_of_right_names(names, latents, words) > 0.95
    # presence and an exponential magnitude correlate at about 0.7 at most
    assert names.loc[latents, "confidence"].min() > 0.4
    assert (names.loc[latents, "margin"] > 0).all()


@pytest.mark.parametrize("method", ["code", "direction"])
def test_a_vocabulary_names_the_concepts(planted, method):
    known = np.flatnonzero(planted.y_features.any(axis=1))
    embeddings, words = planted.y_features[known], planted.words[known]
    names = name_latents(planted.model, embeddings, words, method=method)
    latents, truth = recovered(planted, "y")
    assert share_of_right_names(names, latents, truth) > 0.95


def test_direction_compares_embeddings_with_either_view(planted):
    known = np.flatnonzero(planted.x_features.any(axis=1))
    embeddings, words = planted.x_features[known], planted.words[known]
    names = name_latents(planted.model, embeddings, words, method="direction", view="x")
    latents, truth = recovered(planted, "x")
    assert share_of_right_names(names, latents, truth) > 0.95
    assert "n_active" not in names


def reference(codes, present, n_unseen):
    """Shrunk correlation of each column of codes with each term."""
    scores = np.full((codes.shape[1], present.shape[1]), np.nan)
    for i, z in enumerate(codes.T):
        for j, t in enumerate(present.T):
            if np.ptp(z) > 0 and np.ptp(t) > 0:
                scores[i, j] = np.corrcoef(z, t)[0, 1] * t.sum() / (t.sum() + n_unseen)
    return scores


@settings(deadline=None, max_examples=60)
@given(
    codes=hnp.arrays(
        np.float64, (12, 3), elements=st.sampled_from([0.0, 0.0, 0.1, 1.7, 1000.3])
    ),
    present=hnp.arrays(np.float64, (12, 4), elements=st.sampled_from([0.0, 1.0])),
    n_unseen=st.sampled_from([0, 4]),
)
def test_scores_are_those_of_dense_float64(codes, present, n_unseen):
    numbers, scores = _by_correlation(
        sparse.csr_array(codes), sparse.csr_array(present), 4, n_unseen
    )
    assert (np.isnan(scores) == (numbers < 0)).all()
    for row, of_row in enumerate(reference(codes, present, n_unseen)):
        best = np.sort(of_row[of_row > 1e-9])[::-1]
        assert_allclose(scores[row][: len(best)], best, atol=1e-9)
        assert np.isnan(scores[row][len(best) :]).all()
        found = numbers[row][numbers[row] >= 0]
        assert_allclose(of_row[found], best, atol=1e-9)


def test_a_term_of_few_captions_does_not_win_by_luck():
    rng = np.random.default_rng(0)
    codes = rng.random((500, 1)) * (rng.random((500, 1)) < 0.02)
    often = (codes[:, 0] > 0.2) | (rng.random(500) < 0.01)
    rare = np.zeros(500)
    rare[np.argsort(-codes[:, 0])[:2]] = 1
    present = sparse.csr_array(np.stack([rare, often], axis=1))
    numbers, _ = _by_correlation(sparse.csr_array(codes), present, 1, n_unseen=4)
    assert numbers[0, 0] == 1


def test_columns_and_numbers(planted):
    names = name_latents(planted.model, planted.y, planted.texts, n_names=3)
    assert names.columns.tolist() == [
        "name",
        "confidence",
        "margin",
        "also",
        "n_active",
    ]
    assert names.index.name == "concept"
    present = planted.model.y_sae_.components_.any(axis=1)
    assert names.index.tolist() == np.flatnonzero(present).tolist()
    codes = planted.model.y_sae_.transform(planted.y)
    counts = codes.count_nonzero(axis=0)[names.index]
    assert names["n_active"].tolist() == counts.tolist()
    silent = names["n_active"] == 0
    assert names.loc[silent, ["name", "confidence", "margin"]].isna().all(axis=None)
    assert (names.loc[~silent, "also"].str.count("; ") == 1).all()


def test_n_names_of_one_has_no_margin(planted):
    names = name_latents(planted.model, planted.y, planted.texts, n_names=1)
    assert names["margin"].isna().all()
    assert (names["also"] == "").all()


def test_latents_that_are_never_active_have_no_name(planted):
    names = name_latents(planted.model.y_sae_, planted.y[:5], ["a cat"] * 5)
    assert names["name"].isna().all()  # the term is in every caption
    assert (names["n_active"] == 0).any()


def test_a_soft_assignment_has_the_concepts_of_the_matches(planted):
    model = planted.model
    before = name_latents(model, planted.y, planted.texts)
    soft = copy.deepcopy(model)
    soft.set_params(matcher=CoactivationMatcher(assignment="soft"))
    soft.realign(planted.X, planted.y)
    names = name_latents(soft, planted.y, planted.texts)
    matched = model.matches_["x_latent"]
    assert names.loc[matched, "name"].tolist() == before.loc[matched, "name"].tolist()


def test_all_estimators_and_a_single_view(planted):
    for model in (planted.model.y_sae_, _paired(planted)):
        names = name_latents(model, planted.y, planted.texts)
        assert names["name"].notna().sum() > 10
    with pytest.raises(ValueError, match="view='y' must be 'x' for a TopKSAE"):
        name_latents(planted.model.y_sae_, planted.y, planted.texts, view="y")


def _paired(planted):
    sae = PairedSAE(48, 4, max_iter=10, batch_size=256, random_state=0)
    return sae.fit(planted.X, planted.y)


@pytest.mark.parametrize(
    ("words", "vectorizer"),
    [
        (["собака", "кошка"], None),
        (["كلب", "قطة"], None),
        (["कुत्ता", "बिल्ली"], CountVectorizer(analyzer="char", ngram_range=(2, 6))),
        (["犬", "猫"], CountVectorizer(analyzer="char")),
        (["<b>dog</b>", "<script>cat</script>"], CountVectorizer(token_pattern=r"\S+")),
    ],
)
def test_any_script_and_html(words, vectorizer):
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.5
    X = np.where(first[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    X += 0.05 * rng.standard_normal(X.shape)
    texts = np.where(first, *words)
    sae = TopKSAE(2, 1, max_iter=100, batch_size=64, learning_rate=1e-2, random_state=0)
    names = name_latents(sae.fit(X), X, texts, vectorizer=vectorizer, n_names=1)
    names = names["name"].dropna().str.lower()
    assert len(names)
    assert all(any(name in word.lower() for word in words) for name in names)


def test_empty_and_long_captions_are_captions(planted):
    texts = list(planted.texts)
    texts[0], texts[1] = "", " ".join(["padding"] * 1300)
    assert len(texts[1]) > 10_000
    names = name_latents(planted.model, planted.y, texts)
    latents, words = recovered(planted, "y")
    assert share_of_right_names(names, latents, words) > 0.95


@pytest.mark.parametrize("missing", [None, np.nan, 3, b"cat"])
def test_what_is_no_text_is_named_by_its_row(planted, missing):
    texts = pd.Series(planted.texts, dtype=object)
    texts[7] = missing
    with pytest.raises(ValueError, match=r"texts has .* at row 7, which is no string"):
        name_latents(planted.model, planted.y, texts)


def test_bad_input(planted):
    model, y, texts = planted.model, planted.y, planted.texts
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        name_latents(model, y, texts[:-1])
    with pytest.raises(ValueError, match="1-dimensional"):
        name_latents(model, y, np.array(texts).reshape(-1, 2))
    with pytest.raises(ValueError, match="no term that the vectorizer"):
        name_latents(model, y, [""] * len(y))
    with pytest.raises(ValueError, match="'method' parameter of name_latents"):
        name_latents(model, y, texts, method="guess")
    with pytest.raises(TypeError, match="must be a fitted PostHocAlignedSAE"):
        name_latents(CountVectorizer().fit(texts), y, texts)
    with pytest.raises(ValueError, match="expecting 32 features"):
        name_latents(model, y[:, :5], texts)


def test_two_concepts_may_share_a_name(planted):
    names = name_latents(
        planted.model,
        planted.y,
        ["cat" if i % 2 else "dog" for i in range(len(planted.y))],
    )
    assert names["name"].dropna().duplicated().any()


@pytest.mark.parametrize("n_samples", [49, 600])
def test_a_word_in_every_caption_says_nothing(n_samples):
    """1 / n_samples rounds down and up: the share of the captions must be 1."""
    codes = sparse.random_array((n_samples, 3), density=0.5, rng=0, format="csr")
    present = sparse.csr_array(np.ones((n_samples, 1)))
    numbers, scores = _by_correlation(codes, present, 1, 0)
    assert (numbers == -1).all()
    assert np.isnan(scores).all()


def test_nothing_that_does_not_go_with_a_concept_is_its_name():
    codes = np.array([[1.0, 0, 2], [1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    present = np.array([[0.0, 1], [1, 1], [1, 0], [1, 0]])
    numbers, scores = _by_correlation(
        sparse.csr_array(codes), sparse.csr_array(present), 2, 0
    )
    assert numbers.tolist() == [[-1, -1], [-1, -1], [1, -1]]
    assert_allclose(scores[2, 0], np.corrcoef(codes[:, 2], present[:, 1])[0, 1])


@pytest.mark.parametrize("method", ["terms", "code", "direction"])
def test_one_name_or_four_are_the_same_first(planted, method):
    """Ties are in the order of the terms, however many are looked for."""
    texts = planted.texts
    if method != "terms":
        texts = [f"entry {i}" for i in range(len(texts))]
    first, more = (
        name_latents(planted.model, planted.y, texts, method=method, n_names=n)
        for n in (1, 4)
    )
    assert first["name"].tolist() == more["name"].tolist()
    assert (more["confidence"].dropna() > 0).all()


def test_the_margin_over_nothing_is_the_confidence():
    table = _name_table(["a", "b"], np.array([[0, -1]]), np.array([[0.5, np.nan]]))
    assert table["margin"].tolist() == [0.5]


def test_a_vocabulary_is_compared_less_its_mean(planted):
    """A vocabulary far from the origin gets the names of one around it."""
    known = np.flatnonzero(planted.y_features.any(axis=1))
    embeddings, words = planted.y_features[known], planted.words[known]
    expected, far = (
        name_latents(planted.model, rows, words, method="direction")
        for rows in (embeddings, embeddings + 30)
    )
    assert far["name"].tolist() == expected["name"].tolist()


def test_how_often_a_term_is_in_a_caption_does_not_count(planted):
    texts = [f"{text} {text.split(' ')[0]}" for text in planted.texts]
    counter = CountVectorizer(min_df=2)
    expected = name_latents(planted.model, planted.y, planted.texts, vectorizer=counter)
    names = name_latents(planted.model, planted.y, texts, vectorizer=counter)
    assert names.equals(expected)


def test_directions_are_in_the_units_of_the_input(planted):
    """Each feature has a scale of its own under normalize="standard"."""
    stretch = np.linspace(0.05, 20, planted.y.shape[1])
    sae = TopKSAE(48, 4, max_iter=40, batch_size=256, learning_rate=3e-3)
    sae.set_params(normalize="standard", random_state=0).fit(planted.y * stretch)
    known = np.flatnonzero(planted.y_features.any(axis=1))
    rows = planted.y_features[known] * stretch
    names = name_latents(sae, rows, planted.words[known], method="direction")
    directions = normalize(sae.components_.astype(float) * sae.scale_)
    cosines = directions @ normalize(rows - rows.mean(axis=0)).T
    assert_allclose(names["confidence"], cosines.max(axis=1), rtol=1e-6)


def test_half_of_a_surrogate_pair_is_named_by_its_row(planted):
    texts = list(planted.texts)
    texts[3] = "a \ud83d"
    with pytest.raises(ValueError, match="half of a surrogate pair at row 3"):
        name_latents(planted.model, planted.y, texts)


def test_a_frozen_estimator_is_what_it_holds(planted):
    sae = planted.model.y_sae_
    expected = name_latents(sae, planted.y, planted.texts)
    assert name_latents(FrozenEstimator(sae), planted.y, planted.texts).equals(expected)
