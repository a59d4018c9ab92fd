"""How well a linear classifier reads labels from codes or embeddings."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._classification_result import ClassificationResult
from skxsae.metrics._codes import (
    check_codes,
    check_labels,
    check_width,
    row_norms,
    unit_rows,
)


def _by_one_number(codes, train_codes):
    """Codes over the root mean square length of the training rows."""
    length = np.sqrt(np.mean(row_norms(train_codes) ** 2))
    return codes / (length if length > 0 else 1.0)


_NORMALIZE = {
    "scale": _by_one_number,
    "l2": lambda codes, train_codes: unit_rows(codes),
    None: lambda codes, train_codes: codes,
}


@validate_params(
    {
        "codes": ["array-like", "sparse matrix"],
        "labels": ["array-like"],
        "test_codes": ["array-like", "sparse matrix"],
        "test_labels": ["array-like"],
        "normalize": [StrOptions({"scale", "l2"}), None],
        "C": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "return_result": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def linear_probe_accuracy(
    codes,
    labels,
    test_codes,
    test_labels,
    *,
    normalize="scale",
    C=1.0,
    max_iter=1000,
    return_result=False,
):
    """Accuracy on test samples of a logistic regression on codes.

    The same call on embeddings tells how much of what they hold the codes keep.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes, or embeddings, that the classifier is trained on.

    labels : array-like of shape (n_samples,)
        Their classes.

    test_codes : {array-like, sparse matrix} of shape (n_test_samples, n_latents)
        Codes, or embeddings, of other samples.

    test_labels : array-like of shape (n_test_samples,)
        Their classes. One that is not among `labels` is never predicted.

    normalize : {"scale", "l2"} or None, default="scale"
        What rows are divided by first: the root mean square length of the training
        rows, so that `C` means the same for codes and for embeddings; their own length,
        as a cosine does; or nothing.

    C : float, default=1.0
        Inverse strength of the L2 penalty of
        :class:`sklearn.linear_model.LogisticRegression`.

    max_iter : int, default=1000
        Largest number of iterations.

    return_result : bool, default=False
        Whether to return a :class:`ClassificationResult`, with the hit of each sample
        and the protocol, and not the accuracy alone.

    Returns
    -------
    float or ClassificationResult
        Accuracy, between 0 and 1, or the result that has it as `accuracy`.

    Raises
    ------
    ValueError
        If the codes differ in width, the numbers of rows differ, there are fewer than
        two classes, or none of `test_labels` is among `labels`.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If `max_iter` iterations are not enough.

    UserWarning
        If some of `test_labels` are not among `labels`, with their share.

    See Also
    --------
    zero_shot_accuracy : Accuracy without training.

    Examples
    --------
    >>> from skxsae.metrics import linear_probe_accuracy
    >>> codes = [[2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    >>> linear_probe_accuracy(codes, [0, 0, 1, 1], [[1.0, 0.0], [0.0, 4.0]], [0, 0])
    0.5
    """
    codes = check_codes(codes, "codes")
    test_codes = check_codes(test_codes, "test_codes")
    check_width(codes, test_codes, "codes", "test_codes", "of one estimator")
    labels = check_labels(labels, "labels")
    test_labels = check_labels(test_labels, "test_labels")
    check_consistent_length(codes, labels)
    check_consistent_length(test_codes, test_labels)
    _check_classes(labels, test_labels)
    scaled = _NORMALIZE[normalize]
    classifier = LogisticRegression(C=C, max_iter=max_iter)
    classifier.fit(scaled(codes, codes), labels)
    predicted = classifier.predict(scaled(test_codes, codes))
    protocol = {
        "task": "linear probe",
        "classifier": "logistic regression",
        "normalize": normalize,
        "C": float(C),
        "max_iter": int(max_iter),
        "n_train": len(labels),
        "n_samples": len(test_labels),
        "n_classes": len(classifier.classes_),
        "n_latents": codes.shape[1],
    }
    result = ClassificationResult((predicted == test_labels).astype(float), protocol)
    return result if return_result else result.accuracy


def _check_classes(labels, test_labels):
    """There are classes to tell apart, and the test samples are of them; or warn."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"labels has a single class, {classes[0]!r}: a classifier needs two."
        )
    trained = set(classes.tolist())
    unseen = np.array([label not in trained for label in test_labels.tolist()])
    if unseen.all():
        raise ValueError(
            f"None of test_labels, such as {test_labels[0]!r}, is among labels, such "
            f"as {labels[0]!r}: none could be predicted. Pass both in one form."
        )
    if unseen.any():
        warnings.warn(
            f"{unseen.mean():.1%} of the test samples are of classes that are not "
            f"among labels, such as {test_labels[unseen].tolist()[0]!r}: these are "
            "never predicted and count as errors. Train on all classes, or leave "
            "them out.",
            UserWarning,
            stacklevel=4,
        )
