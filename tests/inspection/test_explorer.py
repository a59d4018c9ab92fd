"""What the explorer's page holds; test_explorer_in_browser.py tells what it does."""

import copy
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context

from skxsae import CoactivationMatcher, PairedSAE
from skxsae.inspection import explore, name_latents

pytest.importorskip("plotly")
Image = pytest.importorskip("PIL.Image")

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> <!-- &amp;"


def data_of(path):
    """The data of a page, as a browser would parse them."""
    page = path.read_text(encoding="utf-8")
    (found,) = re.findall(
        r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL
    )
    return json.loads(found)


@pytest.fixture
def write(planted, tmp_path):
    """Write a page of the planted pairs, and read its data."""

    def written(model=planted.model, X=planted.X, y=planted.y, **options):
        options = {"texts": planted.texts, "layout": "pca", **options}
        return data_of(explore(model, X, y, path=tmp_path / "page.html", **options))

    return written


def test_a_concept_has_its_numbers_samples_and_neighbours(planted, write):
    page = write()
    concepts = page["concepts"]
    Z_x, Z_y = (Z.toarray() for Z in planted.model.transform(planted.X, planted.y))
    alive = np.flatnonzero(Z_x.any(axis=0) | Z_y.any(axis=0))
    assert concepts["number"] == alive.tolist()
    names = name_latents(planted.model, planted.y, planted.texts)
    matches = planted.model.matches_.set_index("x_latent")
    for place, number in enumerate(concepts["number"]):
        assert concepts["n_x"][place] == np.count_nonzero(Z_x[:, number])
        if number in names.index:
            assert concepts["name"][place] == names.loc[number, "name"]
        if number in matches.index:
            margin = matches.loc[number, "margin"]
            assert concepts["margin"][place] == pytest.approx(margin, rel=1e-3)
            assert concepts["above_noise"][place] == matches.loc[number, "above_noise"]
        else:
            assert concepts["margin"][place] is None
        for view, Z in (("x", Z_x), ("y", Z_y)):
            top = page["top"][view][place]
            rows = [page["items"]["row"][item] for item, _ in top]
            strongest = np.argsort(-Z[:, number], kind="stable")[:8]
            assert rows == [row for row in strongest if Z[row, number] > 0]
    assert len(page["nearest"]) == len(page["bridges"]) == len(alive)
    assert page["one_space"] is True
    assert page["views"] == {"x": "image", "y": "text"}


def test_only_what_is_shown_is_in_the_page(planted, write):
    page = write(n_top=1)
    shown = {item for view in "xy" for top in page["top"][view] for item, _ in top}
    assert sorted(shown) == list(range(len(page["items"]["row"])))
    assert len(page["items"]["text"]) == len(shown) < len(planted.X) / 10


def test_queries_are_texts_with_their_active_concepts(planted, write):
    page = write()
    texts = page["queries"]["text"]
    assert set(texts) <= set(planted.texts)
    row = planted.texts.index(texts[5])
    codes = planted.model.y_sae_.transform(planted.y[[row]]).toarray()[0]
    numbers = [page["concepts"]["number"][c] for c, _ in page["queries"]["concepts"][5]]
    assert numbers == [c for c in np.argsort(-codes, kind="stable") if codes[c] > 0]
    page = write(queries=(["one", "two"], planted.y[:2]))
    assert page["queries"]["text"] == ["one", "two"]
    assert write(texts=None)["queries"] is None


def test_no_more_queries_than_a_page_takes(planted, write):
    texts = [f"{text} {i}" for i, text in enumerate(planted.texts)]
    queries = write(texts=texts)["queries"]["text"]
    assert len(queries) == len(set(queries)) == 2000


def test_more_concepts_than_the_page_holds(planted, write):
    everything = write()
    energies = dict(
        zip(
            everything["concepts"]["number"],
            everything["concepts"]["energy"],
            strict=True,
        )
    )
    with pytest.warns(
        UserWarning, match=r"concepts are active, and the page shows the 7"
    ):
        page = write(max_concepts=7)
    strongest = sorted(energies, key=energies.get, reverse=True)[:7]
    assert page["concepts"]["number"] == sorted(strongest)
    assert page["n_left_out"] == len(energies) - 7
    flat = [other for near in page["nearest"] for other in near]
    flat += [pair[1] for pairs in page["bridges"] for pair in pairs]
    assert max(flat) < 7


def test_silent_latents_are_counted_and_not_shown(planted, write):
    page = write(X=planted.X[:9], y=planted.y[:9], texts=planted.texts[:9])
    n_columns = planted.model.n_aligned_
    assert page["n_silent"] == n_columns - len(page["concepts"]["number"]) > 0
    with pytest.raises(ValueError, match="No concept is active"):
        explore(_without_codes(planted.model), planted.X, planted.y)


def _without_codes(model):
    """A model whose latents are never active."""
    model = copy.deepcopy(model)
    for sae in (model.x_sae_, model.y_sae_):
        sae.encoder_bias_ = sae.encoder_bias_ - 1e6
    return model


def test_html_in_texts_is_text(planted, write):
    texts = [f"{EVIL} {text}" for text in planted.texts]
    page = write(texts=texts, names=[EVIL] * planted.model.n_aligned_)
    assert page["items"]["text"][0].startswith(EVIL)
    assert page["concepts"]["name"][0] == EVIL


def test_texts_of_any_length_and_script(planted, write):
    texts = list(planted.texts)
    row = int(
        np.argmax(planted.model.y_sae_.transform(planted.y).max(axis=1).toarray())
    )
    texts[row] = "猫 كلب नमस्ते " * 1000
    items = write(texts=texts)["items"]
    shown = items["text"][items["row"].index(row)]
    assert shown == texts[row][:299] + "…"
    names = write(texts=[""] * len(texts))["concepts"]["name"]
    assert set(names) == {None}


def test_names_of_any_kind(planted, write):
    names = pd.Series({0: "cat", 1: "cat"})
    concepts = write(names=names)["concepts"]
    named = dict(zip(concepts["number"], concepts["name"], strict=True))
    assert named[0] == named[1] == "cat"
    assert {name for number, name in named.items() if number > 1} == {None}
    with pytest.raises(ValueError, match="names has 2 entries"):
        write(names=["a", "b"])


def test_pictures_are_small_and_there_once(planted, write):
    images = [np.full((30, 40, 3), i % 256, np.uint8) for i in range(len(planted.X))]
    page = write(images=images, thumbnail_size=16)
    of_x = {item for top in page["top"]["x"] for item, _ in top}
    pictures = page["items"]["picture"]
    for item, picture in enumerate(pictures):
        assert (picture is not None) == (item in of_x)
    picture = next(filter(None, pictures))
    assert picture.startswith("data:image/webp;base64,")
    assert len(picture) < 400


def test_pictures_that_cannot_be_read_are_named(planted, write, tmp_path):
    broken, good = tmp_path / "broken.png", tmp_path / "good.png"
    broken.write_bytes(b"nonsense")
    Image.new("RGB", (8, 8), "red").save(good)
    paths = [good] * len(planted.X)
    row = int(
        np.argmax(planted.model.x_sae_.transform(planted.X).max(axis=1).toarray())
    )
    paths[row] = broken
    with pytest.warns(
        UserWarning, match=rf"1 entry of images.* row {row}, .*broken\.png"
    ):
        page = write(images=paths)
    items = page["items"]
    assert items["picture"][items["row"].index(row)] is None


def test_rows_that_show_the_same_are_shown_once(planted, write):
    X, y = (np.repeat(view[:500], 3, axis=0) for view in (planted.X, planted.y))
    page = write(X=X, y=y, texts=np.repeat(planted.texts[:500], 3))
    rows = [page["items"]["row"][item] for item, _ in page["top"]["x"][0]]
    assert len(rows) == len({row // 3 for row in rows}) > 1


def test_every_estimator(planted, write):
    page = write(planted.model.x_sae_, y=None, texts=planted.x_captions)
    assert page["bridges"] is None
    assert list(page["views"]) == ["x"]
    assert page["views"]["x"] == "text"
    assert set(page["concepts"]["kind"]) == {"x"}
    paired = PairedSAE(48, 4, max_iter=3, batch_size=256, random_state=0)
    page = write(paired.fit(planted.X, planted.y))
    assert "margin" not in page["concepts"]
    soft = copy.deepcopy(planted.model)
    soft.set_params(matcher=CoactivationMatcher(assignment="soft"))
    soft.realign(planted.X, planted.y)
    page, hard = write(soft), write()
    matched = planted.model.matches_["x_latent"].tolist()
    for number in set(matched) & set(hard["concepts"]["number"]):
        of_soft, of_hard = (
            part["concepts"]["correlation"][part["concepts"]["number"].index(number)]
            for part in (page, hard)
        )
        assert of_soft == of_hard


def test_frames_are_read_by_position(planted, write):
    """Not by their index, which may be that of a larger table."""
    order = np.arange(len(planted.X))[::-1]
    images = [np.full((4, 4, 3), i % 256, np.uint8) for i in order]
    frames = {
        "X": pd.DataFrame(planted.X, index=order),
        "y": pd.DataFrame(planted.y, index=order),
        "texts": pd.Series(planted.texts, index=order),
        "images": pd.Series(images, index=order),
    }
    assert write(**frames) == write(images=images)


def test_two_texts_for_each_pair(planted, write):
    page = write(x_texts=[f"x {text}" for text in planted.texts])
    pairs = zip(page["items"]["x_text"], page["items"]["text"], strict=True)
    assert all(first == f"x {second}" for first, second in pairs)


def test_views_of_different_widths_have_no_distance(planted, tmp_path):
    wide = np.hstack([planted.y, planted.y])
    model = copy.deepcopy(planted.model).fit(planted.X, wide)
    page = data_of(explore(model, planted.X, wide, path=tmp_path / "page.html"))
    assert page["one_space"] is False
    assert "distance" not in page["concepts"]
    assert any(page["bridges"])


def test_places_may_be_given(planted, write):
    places = np.random.default_rng(0).random((planted.model.n_aligned_, 2))
    page = write(layout=places)
    expected = places[page["concepts"]["number"]].T
    np.testing.assert_allclose(page["places"], expected, atol=1e-3)


def test_the_page_asks_for_nothing_from_elsewhere(write, tmp_path):
    write()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    outside_plotly = re.sub(r"<script>\n/\*\*.*?</script>", "", page, flags=re.DOTALL)
    assert len(outside_plotly) < len(page) / 2
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", outside_plotly)
    assert "<!--" not in outside_plotly.replace(json.dumps("<!--"), "")


def test_bad_input(planted, write):
    with pytest.raises(ValueError, match="y is None, but the estimator has 2 views"):
        write(y=None)
    with pytest.raises(ValueError, match="y is given, but the estimator has 1 view"):
        write(planted.model.x_sae_)
    with pytest.raises(ValueError, match="images has 1 entries, but there are 3000"):
        write(images=["a.png"])
    with pytest.raises(ValueError, match="texts has 1 entries"):
        write(texts=["a"])
    with pytest.raises(ValueError, match="texts has None at row 0"):
        write(texts=[None] * 3000)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        write(y=planted.y[:-1])
    with pytest.raises(ValueError, match=r"view_names=\('a', 'a'\)"):
        write(view_names=("a", "a"))
    with pytest.raises(ValueError, match="layout has shape"):
        explore(planted.model, planted.X, planted.y, layout=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="'layout' parameter of explore"):
        explore(planted.model, planted.X, planted.y, layout="circle")
    with pytest.raises(TypeError, match="must be a fitted PostHocAlignedSAE"):
        explore(CoactivationMatcher().fit(planted.x_codes, planted.y_codes), planted.X)


def test_missing_plotly_is_named(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"skxsae\[plot\]"):
        write()


def test_the_size_is_logged(write, caplog):
    caplog.set_level("INFO", logger="skxsae")
    write()
    assert re.search(r"page\.html: \d+ concepts, \d\.\d MB", caplog.text)


def test_matches_by_chance_are_a_kind_of_their_own(planted, write):
    model = copy.deepcopy(planted.model)
    sure = model.matches_["x_latent"].iloc[0]
    model.matches_["above_noise"] = model.matches_["x_latent"] == sure
    plain, concepts = write()["concepts"], write(model)["concepts"]
    assert "chance" in concepts["kind"]
    for number, kind, before in zip(
        concepts["number"], concepts["kind"], plain["kind"], strict=True
    ):
        by_chance = kind == "chance"
        assert (number != sure) or not by_chance
        assert kind == before or by_chance


def test_without_a_null_no_match_is_called_chance(planted, write):
    model = copy.deepcopy(planted.model)
    model.set_params(matcher=CoactivationMatcher(n_null=0))
    concepts = write(model.realign(planted.X, planted.y))["concepts"]
    assert "chance" not in concepts["kind"]
    assert "above_noise" not in concepts
    assert any(margin is not None for margin in concepts["margin"])


@pytest.mark.parametrize("layout", ["tsne", "pca"])
def test_the_output_that_is_configured_does_not_matter(write, layout):
    expected = write(layout=layout)
    with config_context(transform_output="pandas"):
        assert write(layout=layout) == expected


def test_the_columns_of_a_soft_assignment(planted, write):
    assert write()["other_columns"] == {}
    model = copy.deepcopy(planted.model)
    model.set_params(matcher=CoactivationMatcher(assignment="soft"))
    page = write(model.realign(planted.X, planted.y))
    columns = zip(*(model._matched_columns(view) for view in "yx"), strict=True)
    assert page["other_columns"] == {str(j): int(i) for j, i in columns}
