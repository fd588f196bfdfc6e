"""The book as Chromium shows it: every page, tabs, search, dark, phone, and axe's rules."""

import os
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

from shared_tests.support.chromium import DESKTOP, PHONE, WIDTHS, launched, luminance
from shared_tests.support.web import served

SITE = Path(os.environ["BOOK"])
COMPONENT, BESIDE = "components/top_k_gating.html", "beside/top_k_gating.html"
TRAP, GUIDE = "traps/maximum-tie.html", "guides/porting.html"
PRINTED = "print/print.html"
CHAPTER, REFERENCE = "chapters/01-four-ways.html", "reference/triplet_mining.html"
TRIED = "components/conv_autoencoder.html"
PAGES = (
    "index.html",
    COMPONENT,
    "components/triplet_loss.html",
    TRIED,
    BESIDE,
    TRAP,
    GUIDE,
    CHAPTER,
    REFERENCE,
)
SERIOUS = ("serious", "critical")
N_PARTS = 6  # of all pages, which several processes share out
ADDRESS = re.compile(r'<[^>]* (?:href|src)="([^"]+)"')
ID = re.compile(r' id="([^"]+)"')
HOSTS = {"github.com", "www.sphinx-doc.org", "pradyunsg.me"}  # sources, and the makers of the theme


@pytest.fixture(scope="module")
def address():
    """The site as a server gives it: search needs one."""
    with served(SITE) as found:
        yield found


@pytest.fixture(scope="module")
def chromium():
    with launched() as browser:
        yield browser


@pytest.fixture
def shown(chromium, address, request):
    """A function that shows a page: (name, size, color scheme) -> the browser's page."""

    def show(name, size=DESKTOP, scheme="light"):
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        request.addfinalizer(context.close)
        page = context.new_page()
        page.wrong = []
        page.on("console", lambda one: page.wrong.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: page.wrong.append(str(one)))
        page.on(
            "response",
            lambda one: page.wrong.append(f"{one.status}: {one.url}") if one.status > 399 else None,
        )
        page.on(
            "request",
            lambda one: (
                None if one.url.startswith((address, "data:")) else page.wrong.append(one.url)
            ),
        )
        page.goto(address + name)
        return page

    return show


@pytest.mark.parametrize("part", range(N_PARTS))
def test_every_page_loads_without_an_error_or_a_request_to_others(shown, address, part):
    names = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    assert len(names) > 150
    page = shown("index.html")
    for name in names[part::N_PARTS]:
        page.goto(address + name)
        assert page.wrong == [], name
        assert page.locator("h1").count() or name == "search.html", name


def linked(page):
    """What a page leads to and loads: [(file of the site, the id in it)]; its links to others."""
    inner, outer = [], []
    for address in map(unescape, ADDRESS.findall(page.read_text(encoding="utf-8"))):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            outer.append(address)
        else:
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            inner.append((target, unquote(parts.fragment)))
    return inner, outer


def test_every_link_inside_the_book_leads_to_a_page_and_a_place_on_it():
    pages = sorted(SITE.resolve().rglob("*.html"))
    ids = {page: set(ID.findall(page.read_text(encoding="utf-8"))) for page in pages}
    found = [(page, *one) for page in pages for one in linked(page)[0]]
    assert len(found) > 10_000
    lost = {
        f"{page.relative_to(SITE.resolve())}: {target.name}#{place}"
        for page, target, place in found
        if not target.is_file() or (place and place not in ids.get(target, {place}))
    }
    assert lost == set()


def test_every_link_out_of_the_book_is_to_a_known_host_over_https():
    pages = SITE.resolve().rglob("*.html")
    addresses = {one for page in pages for one in linked(page)[1] if not one.startswith("data:")}
    assert {urlsplit(one).scheme for one in addresses} == {"https"}
    assert {urlsplit(one).netloc for one in addresses} <= HOSTS


def test_no_page_is_heavy():
    pages = [path for path in SITE.rglob("*.html") if path != SITE / PRINTED]
    assert {path.name for path in pages if path.stat().st_size > 500_000} == set()


def test_every_tab_of_the_page_to_be_printed_is_on_paper(shown):
    page = shown(PRINTED)
    tabs = "[...document.querySelectorAll('.sd-tab-content')]"
    display = f"{tabs}.map(one => getComputedStyle(one).display)"
    assert "none" in page.evaluate(display)
    page.emulate_media(media="print")
    assert set(page.evaluate(display)) == {"block"}
    assert page.locator("h2", has_text="Four ways to say one thing").count() == 1


def test_every_component_has_its_sections(shown):
    page = shown(COMPONENT)
    text = page.locator("article").inner_text()
    for heading in ("Do they agree?", "Four implementations", "Mistakes that the tests catch"):
        assert heading in text
    assert "PyTorch eager" in text
    assert "not measured in this build" in page.locator("article").text_content()  # of TensorFlow
    other = shown("components/triplet_loss.html").locator("article").inner_text()
    assert "Not measured in the report" in other


def test_a_formula_is_typeset_and_an_example_was_run(shown):
    page = shown("components/triplet_loss.html")
    assert page.locator("math[display=block]").bounding_box()["height"] > 15
    assert "\n0.3\n" in page.locator("article").inner_text().replace("\xa0", " ") + "\n"


def test_the_name_of_a_function_stands_off_from_what_it_is_of(shown):
    html = shown("components/soft_nearest_neighbor_loss.html").content()
    assert '<mi>log</mi><mspace width="0.17em"></mspace><mn>2</mn>' in html


def test_tabs_stay_on_the_chosen_framework(shown, address):
    page = shown(COMPONENT)
    label = page.locator("label", has_text="Theano").first
    label.click()
    checked = """[...document.querySelectorAll(".sd-tab-set")]
        .filter(set => [...set.children].some(one => one.innerText === "Theano"))
        .map(set => set.querySelector(":scope > input:checked + label").innerText)"""
    found = page.evaluate(checked)
    assert len(found) > 5
    assert set(found) == {"Theano"}
    page.goto(address + "components/triplet_loss.html")
    assert set(page.evaluate(checked)) == {"Theano"}


def test_two_stand_beside_each_other_as_chosen(shown, address):
    page = shown(BESIDE)
    row = page.locator(".beside").first

    def visible():
        panels = row.locator("> div:not([hidden])")
        boxes = sorted(
            (panel.bounding_box()["x"], panel.get_attribute("class")) for panel in panels.all()
        )
        return [name.split()[0] for _, name in boxes]

    assert visible() == ["torch", "tf2"]
    first, second = row.locator("> .torch").bounding_box(), row.locator("> .tf2").bounding_box()
    assert first["y"] == second["y"]
    page.locator(".choice select").nth(0).select_option("numpy")
    page.locator(".choice select").nth(1).select_option("theano")
    assert visible() == ["numpy", "theano"]
    page.reload()
    assert visible() == ["numpy", "theano"]


def test_search_finds_a_word(shown):
    page = shown("search.html?q=hinge")
    for title in ("Triplet loss", "hinge-at-zero"):
        link = page.locator("#search-results a", has_text=title).first
        link.wait_for()
        assert link.get_attribute("href").startswith(("components/", "traps/"))


def test_the_answer_to_a_mistake_is_folded(shown):
    page = shown(COMPONENT)
    answer = page.locator("details:has(> summary:has-text('Answer'))").first
    assert answer.get_attribute("open") is None
    answer.locator("summary").focus()
    page.keyboard.press("Enter")
    assert "sees it" in answer.inner_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways(shown, name):
    page = shown(name, PHONE)
    assert page.evaluate(WIDTHS) == [390, 390]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(shown, name, scheme):
    found = Axe().run(shown(name, DESKTOP, scheme)).response["violations"]
    assert [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in SERIOUS
    ] == []


def test_a_typed_word_finds_its_stem(shown):
    page = shown("components/sequence_encoder.html")
    page.locator(".try input").fill("walked")
    lines = answered(page)
    assert len(lines) == 5
    assert {line.split()[0] for line in lines} & {"walk", "walking", "walks", "walker"}
    cosines = [float(line.split()[1]) for line in lines]
    assert cosines == sorted(cosines, reverse=True)
    page.locator(".try input").fill("")
    page.wait_for_function("!document.querySelector('.answer li')")
    assert page.wrong == []


def test_a_typed_title_finds_those_of_its_chapter(shown):
    page = shown("components/title_encoder.html")
    title = "inverse of a square matrix"
    page.locator(".try input").fill(title)
    page.wait_for_function(f"document.querySelector('.answer').dataset.asked === {title!r}")
    lines = answered(page)
    assert len(lines) == 5
    assert sum("(scipy.linalg)" in line for line in lines) >= 3
    cosines = [float(line.rpartition(" ")[2]) for line in lines]
    assert cosines == sorted(cosines, reverse=True)
    assert page.wrong == []


def test_a_drawn_digit_comes_back(shown):
    page = shown("components/conv_autoencoder.html")
    drawing, result = page.locator(".try canvas").all()
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"], steps=20)
    page.mouse.up()
    (line,) = answered(page)
    assert 0 < float(line.rpartition(" ")[2]) < 0.1
    dark = """canvas => { const { data } = canvas.getContext("2d").getImageData(0, 0, 160, 160);
        return data.filter((one, i) => i % 4 === 0 && one < 128).length / 160 / 160; }"""
    assert result.evaluate(dark) == pytest.approx(drawing.evaluate(dark), abs=0.1)
    page.locator(".try button").click()
    assert drawing.evaluate(dark) == result.evaluate(dark) == 0
    assert page.wrong == []


def test_a_chosen_sound_finds_its_voice(shown):
    page = shown("components/speaker_encoder.html")
    right = 0
    for button in page.locator(".try button").all():
        button.click()
        name = button.inner_text()
        page.wait_for_function(f"document.querySelector('.answer').dataset.asked === {name!r}")
        *near, truth = answered(page)
        assert len(near) == 5
        right += truth.removeprefix("It is ").removesuffix(".") == near[0].rpartition(" ")[0]
    assert right >= 3  # of four sounds
    assert page.wrong == []


def answered(page):
    """The lines of what a model has answered."""
    page.locator(".answer li").first.wait_for()
    return page.locator(".answer li").all_inner_texts()


def test_the_system_chooses_dark_or_light(shown):
    def background(scheme):
        return luminance(shown("index.html", DESKTOP, scheme), "body", "backgroundColor")

    assert background("light") > 0.9
    assert background("dark") < 0.2
