"""
From pictures and words to named concepts
=========================================

The whole way: a folder of pictures and a column of captions become embeddings, aligned
concepts, names for them in several languages, a search that says why, and a page one
can click through. The pictures are emoji.
"""

# %%
# Pictures and captions
# ---------------------
# 1,906 emoji come with the package, each with its name and with phrases that have some
# of its keywords.

import matplotlib.pyplot as plt
import numpy as np

from skxsae.datasets import load_emoji, load_emoji_names, load_emoji_pictures

data = load_emoji()
pictures = load_emoji_pictures()


def show(rows, title):
    """Show the pictures of some rows in a line."""
    fig, axes = plt.subplots(1, len(rows), figsize=(0.8 * len(rows), 1.1))
    for ax, row in zip(axes, rows, strict=True):
        ax.imshow(pictures[data.groups[row]])
        ax.axis("off")
    fig.suptitle(title, fontsize=10)
    plt.show()


first = np.unique(data.groups, return_index=True)[1]  # one row for each emoji
show(first[100:1900:150], "Some of the emoji")

# %%
# Embeddings
# ----------
# With pictures and captions of your own, and the weights of a model of the CLIP family,
# two transformers embed them::
#
#     from skxsae.embedding import OpenCLIPImageEncoder, OpenCLIPTextEncoder
#
#     X = OpenCLIPImageEncoder(cache_dir="cache").transform(paths)
#     y = OpenCLIPTextEncoder(cache_dir="cache").transform(captions)
#
# The emoji are embedded already, by two encoders that were never trained together: one
# has seen photographs only, the other sentences only. A picture that has several texts
# is repeated, and the groups say so.

X, y, groups = data.X, data.y, data.groups
X.shape, y.shape

# %%
# Concepts
# --------
# A sparse autoencoder for each view, and latents matched by what they are active on.

from skxsae import PostHocAlignedSAE

train = ~data.test
sae = PostHocAlignedSAE(k=8, random_state=0)
sae.fit(X[train], y[train], groups=groups[train])
print(f"{sae.n_aligned_} concepts, {sae.matches_['above_noise'].sum()} matched surely")

# %%
# Names
# -----
# A concept is named by the word, or pair of words, whose presence in the caption has
# the largest correlation with the activation of its text latent. The confidence is this
# correlation, shrunk a little for rare words.

from skxsae.inspection import name_latents

names = name_latents(sae, y[train], data.texts[train])
names.sort_values("confidence", ascending=False).head(8).round(2)

# %%
# Is a name right? What it says of *held-out* pictures can be checked: the picture
# latent of the same number should be more active on emoji whose caption has the name.
# It has never seen a word.

import re

from sklearn.metrics import roc_auc_score

Z_x, Z_y = sae.transform(X, y)
matched = sae.matches_.query("above_noise")["x_latent"]
sure = names.loc[matched].sort_values("confidence", ascending=False)
held_out = first[data.test[first]]
every_text = np.array([" ".join(data.texts[groups == groups[i]]) for i in held_out])
for concept, name in sure["name"].head(8).items():
    word = re.compile(rf"\b{re.escape(name)}\b")
    has_name = np.array([bool(word.search(text)) for text in every_text])
    if has_name.any():
        activations = Z_x[held_out][:, [concept]].toarray().ravel()
        auc = roc_auc_score(has_name, activations)
        print(
            f"{name:12} in {has_name.sum():3} captions, AUC of the pictures {auc:.2f}"
        )

# %%
# What the pictures of three concepts look like:

shown = sure[~sure["name"].duplicated()].head(3)
for concept, name in shown["name"].items():
    activations = Z_x[first][:, [concept]].toarray().ravel()
    show(first[np.argsort(-activations)[:10]], f"{concept}: {name}")

# %%
# In other languages
# ------------------
# Names come from texts, not from the encoder of texts, so that any language will do
# that the pictures have captions in. Here the *picture* latents are named by the names
# of the emoji in German, Russian and Japanese. Japanese has no spaces: its terms are
# runs of characters.

import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

translations = load_emoji_names()
vectorizers = {
    "en": None,
    "de": None,
    "ru": None,
    "ja": CountVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2),
}
in_train = first[train[first]]
in_languages = {
    code: name_latents(
        sae,
        X[in_train],
        translations.loc[groups[in_train], code],
        view="x",
        vectorizer=vectorizer,
    )["name"]
    for code, vectorizer in vectorizers.items()
}
pd.DataFrame(in_languages).loc[shown.index]

# %%
# Search that says why
# --------------------
# Pictures are found by words, because both have the same columns. Every hit tells the
# concepts that made it one, and how much each of them adds to the similarity.

from skxsae.search import ConceptIndex

index = ConceptIndex(n_results=8).fit(Z_x[first], names=names)
query = np.flatnonzero(data.texts == "flag: Japan")
hits = index.search(Z_y[query])
show(first[hits["item"]], "Found by the words 'flag: Japan'")
hits.assign(found=data.names[first][hits["item"]]).head(4).round(2)

# %%
# A query in another language is only as good as the encoder of texts. The one of the
# emoji has learnt English: it knows a German word that looks like the English one, and
# no other. Texts in many languages want an encoder that was trained on them.

german = load_emoji(language="de")
for text in ("Flagge: Japan", "Frosch"):
    query = np.flatnonzero(german.texts == text)[:1]
    hits = index.search(sae.y_sae_.transform(german.y[query]))
    show(first[hits["item"]], f"Found by the words {text!r}")

# %%
# Steering
# --------
# Add a concept to the embedding of a picture, and look at what is near it then.

from skxsae.interventions import steer

octopus = first[data.names[first] == "octopus"]
flag = int(sure.index[sure["name"] == "flag"][0])
for strength in (0.0, 1.0, 2.0):
    steered = steer(sae, X[octopus], flag, strength)
    nearest = np.argsort(-(steered @ X[first].T))[0, :8]
    show(first[nearest], f"octopus + {strength:g} x {names['name'][flag]}")

# %%
# A page to explore
# -----------------
# One file that needs no network: a map of all concepts, their pictures and texts, how
# surely they were matched, and a list of texts to look up. This is it:

from skxsae.inspection import explore

page = explore(
    sae,
    X,
    y,
    images=pictures[groups],
    texts=data.texts,
    names=names,
    view_names=("picture", "text"),
    thumbnail_size=48,
    path="emoji_concepts.html",
)
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")

# %%
# .. raw:: html
#
#    <iframe src="../emoji_concepts.html" title="The concepts of the emoji"
#      style="width:100%;height:860px;border:1px solid #d0d7de" loading="lazy"></iframe>
#    <p><a href="../emoji_concepts.html">Open it in a window of its own.</a></p>
