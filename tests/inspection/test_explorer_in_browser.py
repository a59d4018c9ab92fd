"""The explorer's page in a browser: what clicks and keys do, and what it never does."""

import shutil

import numpy as np
import pytest

from skxsae.inspection import explore

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("plotly")

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='hacked=2'>"
EVIL_NAME = "<a href='javascript:hacked=3'>link</a> <b>bold</b> &amp; &lt;i&gt;"
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(planted, tmp_path_factory):
    """A page with pictures, all kinds of concepts, and texts that are HTML."""
    texts = [
        f"{text} {EVIL}" if i % 2 else text for i, text in enumerate(planted.texts)
    ]
    images = [np.full((8, 8, 3), i % 256, np.uint8) for i in range(len(texts))]
    names = [f"name{i}" for i in range(planted.model.n_aligned_)]
    names[planted.model.matches_["x_latent"].iloc[0]] = EVIL_NAME
    return explore(
        planted.model,
        planted.X,
        planted.y,
        images=images,
        texts=texts,
        names=names,
        path=tmp_path_factory.mktemp("explorer") / "concepts.html",
    )


@pytest.fixture
def visit(chromium):
    """Open a page, and fail in the end if it said or asked for anything."""
    visits = []

    def opened(path, viewport=WIDE, fragment=""):
        page = chromium.new_page(viewport=viewport)
        said, asked = [], []
        page.on(
            "console",
            lambda message: message.type == "error" and said.append(message.text),
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("html[data-ready=true]")
        visits.append((page, path, said, asked))
        return page

    yield opened
    for page, path, said, asked in visits:
        page.wait_for_timeout(100)
        assert said == []
        assert [
            url for url in asked if not url.startswith((path.as_uri(), "data:"))
        ] == []
        assert page.evaluate("typeof window.hacked") == "undefined"
        page.close()


@pytest.fixture
def page(visit, path):
    return visit(path)


def data_of(page):
    return page.evaluate("JSON.parse(document.getElementById('data').textContent)")


def heading(page):
    return page.inner_text("#concept h2")


def lit(page):
    """Numbers of the concepts that are not dimmed on the map."""
    places = page.evaluate(
        """() => document.getElementById("plot").data.slice(0, -2).flatMap((trace) =>
          trace.visible === false ? [] :
          (trace.selectedpoints ?? trace.customdata.map((_, place) => place))
            .map((place) => trace.customdata[place]))"""
    )
    numbers = data_of(page)["concepts"]["number"]
    return sorted(numbers[place] for place in places)


def test_the_strongest_concept_is_shown_at_first(page):
    concepts = data_of(page)["concepts"]
    strongest = concepts["number"][int(np.argmax(concepts["energy"]))]
    assert f"#{strongest}" in heading(page)
    assert page.get_attribute("#concepts button >> nth=0", "aria-current") == "true"
    assert page.title() == "Concepts of image and text"
    assert lit(page) == concepts["number"]


def test_a_click_on_the_map_shows_that_concept(page):
    """At the pixels where plotly drew the point."""
    for place in (3, 11):
        x, y = page.evaluate(
            """(place) => {
              const plot = document.getElementById("plot");
              const { xaxis, yaxis } = plot._fullLayout;
              const data = JSON.parse(document.getElementById("data").textContent);
              const box = plot.getBoundingClientRect();
              return [box.left + xaxis._offset + xaxis.d2p(data.places[0][place]),
                      box.top + yaxis._offset + yaxis.d2p(data.places[1][place])];
            }""",
            place,
        )
        page.mouse.move(x, y)
        page.wait_for_timeout(200)
        page.mouse.click(x, y)
        number = data_of(page)["concepts"]["number"][place]
        page.wait_for_function(f"location.hash === '#{number}'")
        assert f"#{number}" in heading(page)
        ring = page.evaluate("document.getElementById('plot').data.at(-1)")
        assert ring["x"] == [data_of(page)["places"][0][place]]


def test_a_concept_shows_its_samples_and_numbers(page):
    data = data_of(page)
    place = next(
        i
        for i, (x, y) in enumerate(zip(data["top"]["x"], data["top"]["y"], strict=True))
        if len(x) == len(y) == 8
    )
    number = data["concepts"]["number"][place]
    page.fill("#search", str(number))
    page.click(f"#concepts button[data-concept='{place}']")
    sources = [
        image.get_attribute("src") for image in page.query_selector_all("#concept img")
    ]
    assert sources == [
        data["items"]["picture"][item] for item, _ in data["top"]["x"][place]
    ]
    for image in page.query_selector_all("#concept img"):
        assert image.get_attribute("alt")
        assert (
            image.evaluate("image => image.decode().then(() => image.naturalWidth)")
            == 8
        )
    shown = [row.inner_text() for row in page.query_selector_all(".texts .grow")]
    assert shown == [data["items"]["text"][item] for item, _ in data["top"]["y"][place]]
    facts = page.inner_text("#concept dl")
    assert f"{data['concepts']['correlation'][place]:.2f}" in facts
    assert f"{data['concepts']['distance'][place]:.2f}" in facts
    chips = page.query_selector_all("#concept .chips button")
    others = [int(chip.get_attribute("data-concept")) for chip in chips]
    bridges = [other for _, other, _ in data["bridges"][place]]
    assert others == bridges + data["nearest"][place]
    chips[-1].click()
    assert f"#{data['concepts']['number'][others[-1]]}" in heading(page)


def test_html_is_shown_and_never_run(page, planted):
    number = int(planted.model.matches_["x_latent"].iloc[0])
    page.evaluate(f"location.hash = '#{number}'")
    page.wait_for_function(
        f"document.querySelector('#concept h2').innerText.includes('#{number}')"
    )
    assert heading(page) == f"{EVIL_NAME} #{number}"
    shown = [row.inner_text() for row in page.query_selector_all(".texts .grow")]
    assert any(EVIL in text for text in shown)
    assert page.query_selector("#concept a, #concept script") is None


def test_html_in_the_name_of_a_point_is_text(page, planted):
    number = int(planted.model.matches_["x_latent"].iloc[0])
    place = data_of(page)["concepts"]["number"].index(number)
    page.evaluate(
        """(place) => {
          const plot = document.getElementById("plot");
          for (const [curveNumber, trace] of plot.data.slice(0, -2).entries()) {
            const pointNumber = trace.customdata.indexOf(place);
            if (pointNumber >= 0) Plotly.Fx.hover(plot, [{ curveNumber, pointNumber }]);
          }
        }""",
        place,
    )
    page.wait_for_selector(".hovertext text")
    assert page.query_selector(".hovertext a") is None
    shown = page.evaluate("document.querySelector('.hovertext').textContent")
    assert shown.startswith(EVIL_NAME[:40])


def test_search_finds_names_and_numbers(page):
    data = data_of(page)
    page.fill("#search", "name3")
    listed = page.eval_on_selector_all(
        "#concepts button", "all => all.map((b) => Number(b.dataset.concept))"
    )
    expected = [i for i, name in enumerate(data["concepts"]["name"]) if "name3" in name]
    assert sorted(listed) == expected
    assert lit(page) == [data["concepts"]["number"][i] for i in expected]
    page.fill("#search", "no such thing")
    assert page.inner_text("#found") == "0 concepts"
    assert lit(page) == []
    page.fill("#search", "")
    assert lit(page) == data["concepts"]["number"]


@pytest.mark.parametrize("typed", ["{}", "#{}", " # {}".replace(" ", "")])
def test_the_concept_with_a_number_is_found_first_and_entered(page, typed):
    numbers = data_of(page)["concepts"]["number"]
    number = min(number for number in numbers if 0 < number < 10)
    page.fill("#search", typed.format(number))
    if "#" in typed:
        assert lit(page) == [number]
    page.press("#search", "Enter")
    assert heading(page).endswith(f"#{number}")


def test_words_explain_the_numbers(page):
    page.click("#words summary")
    explained = page.inner_text("#words dl")
    for word in ("energy", "activation", "match", "bridge"):
        assert word in explained


@pytest.mark.parametrize("kind", ["shared", "x", "y"])
def test_kinds_can_be_chosen(page, kind):
    data = data_of(page)
    page.check(f"#kinds input[value={kind}]")
    expected = [
        number
        for number, own in zip(
            data["concepts"]["number"], data["concepts"]["kind"], strict=True
        )
        if own == kind
    ]
    assert expected
    assert lit(page) == expected
    assert (
        page.inner_text("#found")
        == f"{len(expected)} concept{'s' * (len(expected) != 1)}"
    )


def test_the_order_of_the_list(page):
    concepts = data_of(page)["concepts"]
    page.select_option("#order", "correlation")
    listed = page.eval_on_selector_all(
        "#concepts button", "all => all.map((b) => Number(b.dataset.concept))"
    )
    values = [concepts["correlation"][i] for i in listed]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[: len(known)] == known


def test_a_text_shows_its_active_concepts(page):
    data = data_of(page)
    query = next(i for i, c in enumerate(data["queries"]["concepts"]) if len(c) > 1)
    page.fill("#query", data["queries"]["text"][query][:12])
    found = page.query_selector_all("#queries button")
    assert 0 < len(found) <= 20
    found[0].click()
    text = page.input_value("#query")
    active = data["queries"]["concepts"][data["queries"]["text"].index(text)]
    chips = page.eval_on_selector_all(
        "#answer .chips button", "all => all.map((b) => Number(b.dataset.concept))"
    )
    assert chips == [concept for concept, _ in active]
    assert lit(page) == sorted(data["concepts"]["number"][c] for c in chips)
    page.fill("#query", "no such text")
    assert "No such text" in page.inner_text("#answer")


def test_all_is_reached_by_keys(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("name1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second = page.query_selector_all("#concepts button")[1]
    assert page.evaluate("document.activeElement.innerText") == second.inner_text()
    page.keyboard.press("Enter")
    concept = int(second.get_attribute("data-concept"))
    assert f"#{data_of(page)['concepts']['number'][concept]}" in heading(page)
    page.keyboard.press("ArrowUp")
    first = page.query_selector_all("#concepts button")[0]
    assert page.evaluate("document.activeElement.innerText") == first.inner_text()


def test_a_link_leads_to_a_concept(visit, path, planted):
    number = int(planted.model.matches_["x_latent"].iloc[5])
    page = visit(path, fragment=f"#{number}")
    assert f"#{number}" in heading(page)
    page = visit(path, fragment="#nonsense")
    assert "#" in heading(page)


def test_a_narrow_screen_needs_no_sideways_scrolling(visit, path):
    page = visit(path, NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    plot = page.query_selector("#plot").bounding_box()
    assert plot["width"] > 0.9 * NARROW["width"] - 40
    assert page.evaluate("scrollY") == 0
    page.click("#concepts button >> nth=1")
    page.wait_for_function("scrollY > 0")
    top = page.query_selector("#concept").bounding_box()["y"]
    assert abs(top) < 50


def test_one_view_and_no_texts(visit, planted, tmp_path):
    path = explore(planted.model.x_sae_, planted.X, path=tmp_path / "one.html")
    page = visit(path)
    assert not page.is_visible("#kinds")
    assert not page.is_visible("#ask")
    assert "row " in page.inner_text("#concept .texts")


def test_many_concepts_are_drawn_and_listed(visit, planted, tmp_path):
    """More than plotly draws as SVG; names and places are made up."""
    rng = np.random.default_rng(0)
    model = _wide_model(planted, 6000)
    X, y = (rng.standard_normal((3000, 32)).astype(np.float32) for _ in "xy")
    page = visit(explore(model, X, y, path=tmp_path / "many.html", layout="pca"))
    n = len(data_of(page)["concepts"]["number"])
    assert n > 4000
    assert page.evaluate("document.getElementById('plot').data[0].type") == "scattergl"
    assert page.inner_text("#found") == f"{n:,} concepts, the first 200 of them:"
    page.fill("#search", str(data_of(page)["concepts"]["number"][-1]))
    page.click("#concepts button >> nth=0")
    assert len(lit(page)) < 50


def _wide_model(planted, n_latents):
    """A model of many latents, hardly trained."""
    from skxsae import PairedSAE

    sae = PairedSAE(n_latents, 16, max_iter=1, batch_size=500, random_state=0)
    return sae.fit(planted.X, planted.y)
