"""The pages in a real Chromium: desktop, phone, dark, keyboard, and axe's rules."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from benchmarks.page import write_page as write_benchmarks
from fourfold.ports.page import comparison_page
from fourfold.report.page import write_page as write_parity
from shared_tests.support.chromium import DESKTOP, PHONE, WIDTHS, launched, luminance
from shared_tests.support.page_reports import MADE, REASON, benchmark_report, comparison, parity

PAGES = ("parity agrees", "parity fails", "benchmarks met", "benchmarks missed")
COMPARISONS = ("comparison agrees", "comparison fails")
OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"


@pytest.fixture(scope="module")
def chromium():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name in (*PAGES, *COMPARISONS):
        kind, said = name.split()
        if kind == "parity":
            write_parity(parity(ok=said == "agrees"), folder / name)
        elif kind == "comparison":
            found = comparison(ok=said == "agrees")
            text = comparison_page(found, {**MADE, "options": {}}, "" if found.ok else REASON)
            (folder / name).write_text(text)
        else:
            write_benchmarks(benchmark_report(ok=said == "met"), folder / name)
        (folder / name).rename(folder / f"{name}.html")
    return folder


@pytest.fixture
def shown(chromium, files, request):
    """A function that shows a page: (name, size, color scheme) -> the browser's page."""

    def show(name, size=DESKTOP, scheme="light"):
        context = chromium.new_context(viewport=size, color_scheme=scheme)
        request.addfinalizer(context.close)
        page = context.new_page()
        asked = []
        page.on("request", lambda one: asked.append(one.url))
        page.goto((files / f"{name}.html").as_uri())
        assert len(asked) == 1, asked  # nothing but the page itself
        return page

    return show


@pytest.mark.parametrize("name", [*PAGES, *COMPARISONS])
def test_the_answer_is_on_the_first_screen(shown, name):
    page = shown(name)
    for place in (".verdict", "#summary", "table"):
        assert page.locator(place).first.bounding_box()["y"] < 400
    assert page.locator("details[open]").count() == 0
    assert page.evaluate("document.documentElement.scrollHeight") < 4 * DESKTOP["height"]


@pytest.mark.parametrize("name", [*PAGES, *COMPARISONS])
def test_a_phone_does_not_scroll_sideways(shown, name):
    page = shown(name, PHONE)
    assert page.evaluate(WIDTHS) == [390, 390]
    page.evaluate(OPEN)
    assert page.evaluate(WIDTHS) == [390, 390]


@pytest.mark.parametrize("name", PAGES)
def test_figures_have_titles_and_nothing_is_cut_off(shown, name):
    page = shown(name)
    page.evaluate(OPEN)
    figures = page.locator("svg[role=img]")
    assert figures.count() > 3
    assert page.evaluate(
        """[...document.querySelectorAll('svg[role=img]')].every(svg =>
            svg.querySelector('title').textContent.length > 20)"""
    )
    outside = page.evaluate(
        """[...document.querySelectorAll('svg[role=img]')].flatMap(svg => {
            const box = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const own = text.getBoundingClientRect();
                return own.left < box.left - 1 || own.right > box.right + 1
                    || own.top < box.top - 1 || own.bottom > box.bottom + 1;
            }).map(text => svg.id + text.textContent);
        })"""
    )
    assert outside == []
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(set(identifiers)) == len(identifiers) > 10


@pytest.mark.parametrize("name", PAGES)
def test_the_system_chooses_dark_or_light(shown, name):
    for scheme, is_dark in (("light", False), ("dark", True)):
        page = shown(name, scheme=scheme)
        page.evaluate(OPEN)
        assert (luminance(page, "body", "backgroundColor") < 0.2) == is_dark
        assert (luminance(page, "body", "color") > 0.8) == is_dark
        assert (luminance(page, "svg[role=img] text", "fill") > 0.8) == is_dark


@pytest.mark.parametrize("name", PAGES)
def test_a_status_is_a_sign_and_not_a_color_alone(shown, name):
    page = shown(name)
    page.evaluate(OPEN)
    for kind, sign in (("ok", "✓"), ("bad", "✗"), ("lacking", "?")):
        cells = page.locator(f"td.{kind}").all_text_contents()
        assert all(sign in text for text in cells)
        if kind == "ok" or name in ("parity fails", "benchmarks missed"):
            assert cells


@pytest.mark.parametrize("name", [*PAGES, "comparison fails"])
def test_the_keyboard_opens_what_is_folded(shown, name):
    page = shown(name)
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    focused = "getComputedStyle(document.activeElement)"
    assert page.evaluate(f"{focused}.outlineStyle") == "solid"
    assert page.evaluate(f"parseFloat({focused}.outlineWidth)") >= 2
    for wanted in (True, False):
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.parentElement.open") == wanted


@pytest.mark.parametrize("name", PAGES)
def test_a_link_of_the_table_opens_the_details(shown, name):
    page = shown(name)
    link = page.locator("tbody a").last
    target = link.get_attribute("href")
    link.press("Enter")
    page.wait_for_function(f"document.querySelector({target!r}).closest('details').open")
    assert page.locator("details[open]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["parity fails", "benchmarks missed", "comparison fails"])
def test_axe_finds_nothing_serious(shown, name, scheme):
    page = shown(name, PHONE, scheme)
    page.evaluate(OPEN)
    found = Axe().run(page).response
    assert len(found["passes"]) > 10
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []


def test_what_is_wrong_comes_before_how_it_was_made(shown):
    page = shown("parity fails")
    assert page.locator(".verdict").inner_text() == "✗ 2 out of tolerance, 12 missing, 598 agree"
    assert page.locator("header .lacking").inner_text().startswith("Narrowed to the backend tf2:")
    assert page.locator("h2").all_text_contents()[:3] == [
        "The worst error of each, as a share of its tolerance",
        "Out of tolerance",
        "Missing",
    ]
    rows = page.locator("tbody").first.locator("tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["distances", "✗", "∞", "✓", "10%", "✓", "10%", "✓", "10%"],
        ["smorms3", "✓", "10%", "✓", "10%,", "?", "12", "missing", "✓", "10%", "✓", "10%"],
        ["soft_nearest_neighbor_loss", *["✓", "10%"] * 4],
    ]
    assert REASON in page.locator("main").inner_text()


def test_reasons_of_missed_targets_say_where_they_were_measured(shown):
    page = shown("benchmarks missed")
    reasons = page.locator("h2:has-text('Why targets are missed') ~ ul").first.locator("li")
    assert reasons.count() == 2
    for reason in reasons.all_inner_texts():
        assert "(as measured on 2026-11-2" in reason
        assert "two cores of a Xeon)" in reason
