import numpy as np

from skxsae.metrics import ClassificationResult


def test_accuracy_and_table():
    result = ClassificationResult(np.array([1.0, 0.5, 0.0, 0.0]), {"k": 3, "C": None})
    assert result.accuracy == 0.375
    frame = result.to_frame()
    assert frame.to_dict("records") == [{"accuracy": 0.375, "k": 3, "C": None}]
    assert repr(result) == (
        "ClassificationResult(accuracy=0.375, protocol={'k': 3, 'C': None})"
    )
