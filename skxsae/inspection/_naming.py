"""Names for concepts, from the texts that make them active."""

from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils import check_consistent_length, gen_batches
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

from skxsae._coactivation import Marginals
from skxsae._concepts import concept_view, largest_of_rows, other_columns
from skxsae._validation import check_view

N_NAMES = 4
_BLOCK_CELLS = 2**20
# captions that a term is given on top of its own, on which nothing goes with it
_N_UNSEEN = 4
# a score that rounding makes of 0 is below
_ROUNDING = 1e-9


@validate_params(
    {
        "method": [StrOptions({"terms", "code", "direction"})],
        "view": [StrOptions({"x", "y"}), None],
        "vectorizer": [HasMethods(["fit_transform", "get_feature_names_out"]), None],
        "n_names": [Interval(Integral, 1, None, closed="left")],
        "device": [str, None],
    },
    prefer_skip_nested_validation=True,
)
def name_latents(
    estimator,
    X,
    texts,
    *,
    method="terms",
    view=None,
    vectorizer=None,
    n_names=N_NAMES,
    device=None,
):
    """Name the concepts of a fitted estimator by the texts they go with.

    Three sources of a name, each with a number that says how good it is:

    - "terms": words and pairs of words of captions. `X` are samples and `texts` their
      captions; the name is the term whose presence in the caption has the largest
      correlation with the activation of the latent. So that a term of two captions
      does not win by luck, the correlation of one that is in ``n`` captions is
      multiplied by ``n / (n + 4)``. This is the confidence.
    - "code": entries of a vocabulary. `X` are embeddings of the entries `texts`; the
      name is the entry that the latent is most active on. The confidence is the
      correlation of its activation with this entry alone: 1 if no other activates it.
    - "direction": entries of a vocabulary. The name is the entry whose embedding, less
      the mean of all, has the largest cosine with the latent's direction. The
      confidence is the cosine. It needs no activation, and names latents of one view by
      embeddings of the other where both are in one space.

    Parameters
    ----------
    estimator : PostHocAlignedSAE, PairedSAE or TopKSAE
        Fitted estimator.

    X : array-like of shape (n_texts, n_features)
        Samples of the view, or embeddings of a vocabulary.

    texts : array-like of shape (n_texts,) of str
        The caption of each row of `X`, or the entries of the vocabulary.

    method : {"terms", "code", "direction"}, default="terms"
        Where a name comes from.

    view : {"x", "y"} or None, default=None
        Whose latents are named. They have the same numbers, so that a name holds for
        both; the view says what `X` is encoded by, or whose directions are compared.
        None means the last view: "y", or the only one of a :class:`TopKSAE`.

    vectorizer : object or None, default=None
        What cuts captions into terms: an unfitted vectoriser of scikit-learn, of which
        only the presence of a term counts. None means ``CountVectorizer(ngram_range=(1,
        2), min_df=2)``. Give one with ``stop_words="english"``, or a list of your own,
        if words such as "on" become names, and one with ``analyzer="char"`` for scripts
        without spaces.

    n_names : int, default=4
        How many names are looked for. All but the first are in the column "also".

    device : str or None, default=None
        Torch device of the encoder; None means that of the estimator.

    Returns
    -------
    names : DataFrame with a row for each concept that the view has
        The index is the number of the concept, its column of the codes; under a soft
        assignment, where a concept has a column for each view, it is there under both.
        Columns are "name", "confidence" (positive and at most 1, see above), "margin"
        of the confidence over that of the next best name, or over 0 if no other goes
        with the concept, "also" (further names, separated by semicolons) and, but for
        "direction", "n_active", the number of rows of `X` on which the latent is
        active. Where nothing goes with it, name, confidence and margin are missing.

    Raises
    ------
    ValueError
        If `texts` has an entry that is no string, or none has a term.

    See Also
    --------
    explore : A page with all concepts, their names and what they are active on.
    PostHocAlignedSAE.describe : What makes up the code of a sample.

    Notes
    -----
    Two concepts may have the same name: a dictionary often splits what has one word.

    Examples
    --------
    >>> from skxsae import TopKSAE
    >>> from skxsae.datasets import load_emoji
    >>> from skxsae.inspection import name_latents
    >>> data = load_emoji(subset="train")
    >>> sae = TopKSAE(n_latents=128, k=8, max_iter=20, random_state=0).fit(data.y)
    >>> names = name_latents(sae, data.y, data.texts)
    >>> names.sort_values("confidence", ascending=False)["name"].iloc[0]
    'flag'
    """
    if view is None:
        view = "y" if hasattr(estimator, "y_sae_") else "x"
    concepts = concept_view(estimator, view)
    texts = check_texts(texts, "texts")
    check_consistent_length(X, texts)
    if method == "direction":
        X = check_view(concepts.sae, X, reset=False)
        table = _name_table(texts, *_by_cosine(X, concepts.directions(), n_names))
        return _under_both_columns(table[concepts.present], estimator)
    codes = concepts.codes(X, device)
    if method == "code":
        every = sparse.eye_array(len(texts), format="csr")
        ranked = _by_correlation(codes, every, n_names, n_unseen=0)
        table = _name_table(texts, *ranked)
    else:
        table = terms_of_concepts(codes, texts, vectorizer, n_names)
    table = table.assign(n_active=Marginals.from_codes(codes).fires)
    return _under_both_columns(table[concepts.present], estimator)


def _under_both_columns(table, estimator):
    """The table with a second row for a concept that has two columns of the codes."""
    columns = other_columns(estimator)
    columns = columns[columns.index.isin(table.index)]
    again = table.loc[columns.index].set_axis(columns)
    return pd.concat([table, again]).sort_index().rename_axis("concept")


class NoTermError(ValueError):
    """Texts of which no term can become a name."""


def terms_of_concepts(codes, texts, vectorizer, n_names):
    """Table of the terms of the texts that go with each column of CSR codes."""
    terms, present = _terms(texts, vectorizer)
    ranked = _by_correlation(codes, present, n_names, _N_UNSEEN)
    return _name_table(terms, *ranked)


def check_texts(texts, name):
    """Texts as an array of strings, or an error that names the first that is none."""
    texts = np.asarray(texts, dtype=object)
    if texts.ndim != 1:
        raise ValueError(f"{name} must be 1-dimensional, got shape {texts.shape}.")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"{name} has {text!r} at row {row}, which is no string. Drop such rows "
                "in both views, or put '' in its place."
            )
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise ValueError(
                f"{name} has half of a surrogate pair at row {row}, which no file can "
                "hold: the text was cut or decoded wrongly."
            )
    return texts


def _terms(texts, vectorizer):
    """Terms of the texts, and a CSR array of where they are present."""
    if vectorizer is None:
        vectorizer = CountVectorizer(ngram_range=(1, 2), min_df=2)
    vectorizer = clone(vectorizer)
    try:
        present = sparse.csr_array(vectorizer.fit_transform(texts), dtype=np.float64)
    except ValueError as error:
        raise NoTermError(
            f"texts have no term that the vectorizer {vectorizer} would keep: {error}"
        ) from error
    present.data[:] = 1
    return vectorizer.get_feature_names_out(), present


def _by_correlation(codes, present, n_names, n_unseen):
    """The terms of largest shrunk correlation with each column of codes.

    Shrunk as if the term were in `n_unseen` more captions, on which the activation is
    neither high nor low.
    """
    n_samples = codes.shape[0]
    sums = Marginals.from_codes(sparse.csr_array(codes))
    count, mean = present.sum(axis=0), sums.total / n_samples
    share, variance = count / n_samples, sums.spread() ** 2 / n_samples
    spread = share * (1 - share)
    codes = sparse.csc_array(codes, dtype=np.float64)
    trust = count / np.maximum(count + n_unseen, 1)

    def scores(latents):
        meets = (codes[:, latents].T.tocsr() @ present).toarray() / n_samples
        scale = variance[latents, None] * spread
        scale[scale == 0] = np.nan
        return trust * (meets - mean[latents, None] * share) / np.sqrt(scale)

    return _best(scores, codes.shape[1], present.shape[1], n_names)


def _by_cosine(X, directions, n_names):
    """The rows of X, less their mean, of the largest cosine with each direction."""
    X = np.asarray(X, dtype=np.float64)
    rows, directions = normalize(X - X.mean(axis=0)), normalize(directions)
    return _best(
        lambda latents: directions[latents] @ rows.T,
        len(directions),
        len(rows),
        n_names,
    )


def _best(scores, n_latents, n_terms, n_names):
    """Numbers and positive scores of the best terms of each latent, -1 for none."""
    numbers = np.full((n_latents, n_names), -1)
    best = np.full((n_latents, n_names), np.nan)
    for latents in gen_batches(n_latents, max(1, _BLOCK_CELLS // n_terms)):
        block = np.nan_to_num(scores(latents), copy=False, nan=-np.inf)
        terms, values = largest_of_rows(block, n_names)
        found = values > _ROUNDING  # the others do not go with the concept
        numbers[latents, : terms.shape[1]] = np.where(found, terms, -1)
        best[latents, : terms.shape[1]] = np.where(found, values, np.nan)
    return numbers, best


def _name_table(labels, numbers, scores):
    """Table of the names with these numbers among the labels, -1 for none."""
    found = numbers >= 0
    names = np.full(numbers.shape, None, dtype=object)
    names[found] = np.asarray(labels, dtype=object)[numbers[found]]
    margin = np.full(len(scores), np.nan)
    if scores.shape[1] > 1:
        margin = scores[:, 0] - np.nan_to_num(scores[:, 1])
    return pd.DataFrame(
        {
            "name": names[:, 0],
            "confidence": scores[:, 0],
            "margin": margin,
            "also": [
                "; ".join(row[kept])
                for row, kept in zip(names[:, 1:], found[:, 1:], strict=True)
            ],
        }
    ).rename_axis("concept")
