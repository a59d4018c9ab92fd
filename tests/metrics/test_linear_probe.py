import warnings

import numpy as np
import pytest
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
    assert linear_probe_accuracy(CODES, words, CODES, np.full(300, "yak")) == 0


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
    with pytest.raises(ValueError, match="12 columns and test_codes have 11"):
        linear_probe_accuracy(X, labels, X_test[:, :11], test_labels)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        linear_probe_accuracy(X, labels, X_test, test_labels[1:])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        linear_probe_accuracy(X, labels[1:], X_test, test_labels)
