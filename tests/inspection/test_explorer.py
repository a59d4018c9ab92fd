"""What the explorer's page holds; test_explorer_in_browser.py tells what it does."""

import base64
import copy
import io
import json
import re
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context

from skxsae import CoactivationMatcher, PairedSAE, TopKSAE
from skxsae.inspection import _explorer as explorer
from skxsae.inspection import _explorer_page as explorer_page
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


def test_nothing_in_the_data_can_be_read_as_html(planted, write, tmp_path):
    """Neither the ends of a script nor the comments that change how one is read."""
    evil = ["</script >", "<!--<script", "]]>", "&lt;b&gt; & <b>"]
    texts = [f"{evil[i % 4]} {text}" for i, text in enumerate(planted.texts)]
    assert set("<>&") < set("".join(write(texts=texts)["items"]["text"]))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    start = page.index('<script id="data" type="application/json">') + 42
    raw = page[start : page.index("</script", start)]
    assert json.loads(raw)["items"]["text"]
    assert not set("<>&") & set(raw)


def test_a_long_text_costs_no_more_than_itself(planted, write):
    """An array of strings of one width would take 120 MB here."""
    texts = list(planted.texts)
    texts[0] = "x" * 10_000
    tracemalloc.start()
    try:
        explorer._queries(
            None,
            np.array(texts, dtype=object),
            sparse.eye_array(len(texts), format="csr"),
            None,
            None,
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_a_page_that_fails_leaves_the_old_one(planted, write, tmp_path, monkeypatch):
    write()
    before = (tmp_path / "page.html").read_bytes()
    monkeypatch.setattr(explorer_page, "_as_script", lambda data: "\ud83d")
    with pytest.raises(UnicodeEncodeError):
        write()
    assert (tmp_path / "page.html").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_wrong_is_told_before_the_work(planted, write, monkeypatch):
    def work(*_):
        raise AssertionError("the samples were encoded first")

    monkeypatch.setattr(explorer.Codes, "of", work)
    model, X, y = planted.model, planted.X, planted.y
    n = model.n_aligned_
    with pytest.raises(ValueError, match="folder that does not exist"):
        explore(model, X, y, path="nowhere/page.html")
    with pytest.raises(ValueError, match="layout has a place that is NaN"):
        write(layout=np.full((n, 2), np.nan))
    with pytest.raises(ValueError, match="the numbers of the concepts as its index"):
        write(names=pd.Series({"a": "cat"}))
    with pytest.raises(ValueError, match=r"queries must be a tuple \(texts, embed"):
        write(queries=["a", "b", "c"])
    with pytest.raises(ValueError, match="surrogate pair at row 0"):
        write(texts=["\ud83d"] * len(X))


def test_names_that_are_no_strings_become_some(planted, write):
    n = planted.model.n_aligned_
    for names in (np.arange(n), pd.Series(range(n)), [b"cat"] * n):
        concepts = write(names=names)["concepts"]
        assert concepts["name"] == [str(names[j]) for j in concepts["number"]]


def test_a_view_of_pictures_is_called_image(planted, write):
    images = [np.full((8, 8, 3), 7, np.uint8)] * len(planted.X)
    sae = planted.model.x_sae_
    page = write(sae, y=None, texts=planted.x_captions, images=images)
    assert page["views"] == {"x": "image"}
    page = write(sae, y=None, texts=planted.x_captions, view_names=["sound"])
    assert page["views"] == {"x": "sound"}
    with pytest.raises(ValueError, match="must be 1 other names"):
        write(sae, y=None, texts=planted.x_captions, view_names=["a", "b"])


def test_the_device_is_that_of_the_estimator(planted, write, monkeypatch):
    asked = []
    own_codes = TopKSAE._own_codes

    def remember(self, X, device):
        asked.append(device)
        return own_codes(self, X, device)

    monkeypatch.setattr(TopKSAE, "_own_codes", remember)
    model = copy.deepcopy(planted.model)
    for sae in (model.x_sae_, model.y_sae_):
        sae.device = "cpu"
    expected = write(model)
    assert set(asked) == {"cpu"}
    asked.clear()
    assert write(device="cpu") == expected
    assert set(asked) == {"cpu"}


def test_a_concept_of_little_in_a_view_is_of_the_other(planted, write):
    """The bound is 5 % of the energy."""
    concepts = write()["concepts"]
    for score, kind in zip(concepts["modality"], concepts["kind"], strict=True):
        expected = "x" if score > 0.95 else "y" if score < 0.05 else "shared"
        assert expected == ("shared" if kind == "chance" else kind)
    assert any(0.05 < min(s, 1 - s) < 0.2 for s in concepts["modality"])


def test_pictures_are_no_larger_than_asked_for(planted, write):
    images = [np.full((30, 40, 3), 7, np.uint8)] * len(planted.X)
    page = write(images=images, thumbnail_size=16)
    picture = next(filter(None, page["items"]["picture"])).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (16, 12)


def test_queries_are_taken_evenly(planted, write):
    texts = [f"{i:04d}" for i in range(len(planted.texts))]
    numbers = np.array(write(texts=texts)["queries"]["text"]).astype(int)
    assert numbers[0] == 0
    assert numbers[-1] == len(texts) - 1
    assert np.diff(numbers).max() <= 2


def test_warnings_name_the_line_of_the_user(write):
    with pytest.warns(UserWarning, match="concepts are active") as caught:
        write(max_concepts=3)
    assert caught[0].filename == __file__
