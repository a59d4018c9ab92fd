"""Names of the features of the second view, which scikit-learn does not look after."""

from sklearn.utils.validation import _get_feature_names


def check_names(given, expected, what):
    """Refuse features with other names than those expected, if both have names."""
    names = _get_feature_names(given)
    if names is None or expected is None or list(names) == list(expected):
        return
    pairs = zip(names, expected, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    at = f": column {place} is {names[place]!r}, not {expected[place]!r}"
    raise ValueError(
        f"The features of y have other names or another order than those of {what}"
        f"{'' if place is None else at}. Give the columns in that order."
    )
