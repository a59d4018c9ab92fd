import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from skxsae.metrics import linear_probe_accuracy

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 300)
CODES = RNG.exponential(size=(300, 12)) * (RNG.random((300, 12)) < 0.4)
CODES[np.arange(300), LABELS] += RNG.exponential(size=300)
SPLIT = CODES[:200], LABELS[:200], CODES[200:], LABELS[200:]


def reference_accuracy(codes, labels, test_codes, test_labels, normalize, C):
    if normalize == "scale":
        length = np.sqrt(np.mean([row @ row for row in codes]))
        codes, test_codes = codes / length, test_codes / length
    elif normalize == "l2":
        codes, test_codes = (
            np.array([row / (np.linalg.norm(row) or 1) for row in each])
            for each in (codes, test_codes)
        )
    model = LogisticRegression(C=C, max_iter=1000).fit(codes, labels)
    return model.score(test_codes, test_labels)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("normalize", ["scale", "l2", None])
def test_accuracy_is_that_of_the_classifier_by_hand(normalize, C, kind):
    X, labels, X_test, test_labels = SPLIT
    X, X_test = 10 * X, 0.5 * X_test
    expected = reference_accuracy(X, labels, X_test, test_labels, normalize, C)
    options = {"normalize": normalize, "C": C}
    actual = linear_probe_accuracy(
        kind(X), labels, kind(X_test), test_labels, **options
    )
    assert actual == expected


def test_scaling_makes_the_penalty_mean_the_same():
    X, labels, X_test, test_labels = SPLIT
    tiny = [1e-4 * X, labels, 1e-4 * X_test, test_labels]
    assert linear_probe_accuracy(*tiny) == linear_probe_accuracy(*SPLIT)
    assert linear_probe_accuracy(*tiny, normalize=None) < linear_probe_accuracy(*SPLIT)


def test_labels_may_be_words_and_some_unseen():
    words = np.array(["cat", "dog", "emu"])[LABELS]
    accuracy = linear_probe_accuracy(CODES[:200], words[:200], CODES[200:], words[200:])
    assert accuracy == linear_probe_accuracy(*SPLIT)
    some = np.where(LABELS == 0, "yak", words)
    seen = linear_probe_accuracy(CODES, words, CODES[LABELS > 0], words[LABELS > 0])
    share = f"{np.mean(LABELS == 0):.1%} of the test samples .* such as 'yak'"
    with pytest.warns(UserWarning, match=share):
        accuracy = linear_probe_accuracy(CODES, words, CODES, some)
    assert accuracy == pytest.approx(seen * np.mean(LABELS > 0))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from([np.asarray, sparse.csr_array, np.float32]),
    normalize=st.sampled_from(["scale", "l2", None]),
)
def test_accuracy_of_any_codes(seed, kind, normalize):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, (20, 4)) * rng.integers(0, 2, (20, 4)) * 1.0
    labels = np.append([0, 1, 2], rng.integers(0, 3, 17))
    split = codes[:12], labels[:12], codes[12:], labels[12:]
    expected = reference_accuracy(*split, normalize, 1.0)
    found = linear_probe_accuracy(
        kind(split[0]), labels[:12], kind(split[2]), labels[12:], normalize=normalize
    )
    assert found == pytest.approx(expected)


def test_codes_of_zeros_predict_the_most_frequent_class():
    zeros = np.zeros((4, 2))
    assert linear_probe_accuracy(zeros, [0, 1, 1, 1], zeros, [1, 1, 0, 0]) == 0.5


def test_too_few_iterations_warn():
    with pytest.warns(ConvergenceWarning):
        linear_probe_accuracy(*SPLIT, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_probe_accuracy(*SPLIT)


def test_what_does_not_fit_is_refused():
    X, labels, X_test, test_labels = SPLIT
    with pytest.raises(ValueError, match="12 columns and test_codes has 11"):
        linear_probe_accuracy(X, labels, X_test[:, :11], test_labels)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        linear_probe_accuracy(X, labels, X_test, test_labels[1:])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        linear_probe_accuracy(X, labels[1:], X_test, test_labels)
    with pytest.raises(ValueError, match=r"None of test_labels, such as .* one form"):
        linear_probe_accuracy(X, labels, X_test, test_labels.astype(str))
    with pytest.raises(ValueError, match=r"labels has a single class, .*0"):
        linear_probe_accuracy(X, 0 * labels, X_test, test_labels)
    one_hot = np.eye(3)[labels]
    with pytest.raises(ValueError, match=r"labels must be 1-d.*labels.argmax\(axis=1"):
        linear_probe_accuracy(X, one_hot, X_test, test_labels)
    with pytest.raises(ValueError, match="test_labels must be 1-dimensional"):
        linear_probe_accuracy(X, labels, X_test, np.eye(3)[test_labels])


def test_the_result_says_which_protocol_it_is():
    result = linear_probe_accuracy(*SPLIT, C=0.5, normalize=None, return_result=True)
    model = LogisticRegression(C=0.5, max_iter=1000).fit(*SPLIT[:2])
    assert result.hits.tolist() == (model.predict(SPLIT[2]) == SPLIT[3]).tolist()
    assert result.accuracy == linear_probe_accuracy(*SPLIT, C=0.5, normalize=None)
    assert result.protocol == {
        "task": "linear probe",
        "classifier": "logistic regression",
        "normalize": None,
        "C": 0.5,
        "max_iter": 1000,
        "n_train": 200,
        "n_samples": 100,
        "n_classes": 3,
        "n_latents": 12,
    }
