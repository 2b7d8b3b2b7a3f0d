"""The studio's page in a real browser: it shows what the network does, and answers to the hand."""

from __future__ import annotations

import itertools
import math

import pytest

from browser import wait_until
from gatework.lens.axes import label
from gatework.studio.rows import Rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]

COLOURS = """canvas => {
  const { width, height } = canvas;
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
  return new Set(new Uint32Array(pixels.data.buffer)).size;
}"""


@pytest.fixture(scope="module")
def address(models, served):
    """The studio, served as the command does it."""
    with served(models) as address:
        yield address


@pytest.fixture
def page(browser, address):
    with browser.visit(address) as page:
        wait_until(page, "window.studio?.panels.every(p => p.base?.finished && p.expected)")
        yield page


def panel(page, name):
    return page.get_by_role("article", name=name)


def chances(page, name):
    return panel(page, name).locator(".next li").all_inner_texts()


def settled(page, number):
    wait_until(page, f"(p => p.held?.finished && !studio.predicting)(studio.panels[{number}])")


def test_the_page_shows_a_map_for_every_gate_and_state(page):
    assert page.get_by_role("article").count() == 3
    for name, values in (("rnn", "h"), ("lstm", "ifogch"), ("gru", "rznh")):
        maps = panel(page, name).get_by_role("slider", name=f"{name}: ")
        assert maps.count() == len(values)
        for k in range(maps.count()):
            wait_until(page, f"c => ({COLOURS})(c) > 8", arg=maps.nth(k).element_handle())
        assert len(chances(page, name)) == 8
        assert "bits per byte" in panel(page, name).locator(".mean").inner_text()


def test_a_slider_changes_prediction_cost_and_memory(page):
    before, cost = chances(page, "lstm"), panel(page, "lstm").locator(".mean").inner_text()
    state = "studio.panels[1].reading.tiles.get('/0/c/0/0').codes.slice(0, 400).join()"
    wait_until(page, "studio.panels[1].reading.tiles.get('/0/c/0/0')")
    memory = page.evaluate(state)
    slider = panel(page, "lstm").get_by_role("slider", name="Value at which f of lstm is held")
    slider.focus()
    slider.press("End")
    settled(page, 1)
    wait_until(page, "studio.panels[1].held.tiles.get('/0/c/0/0')")
    assert panel(page, "lstm").get_by_role("checkbox", name="Hold f of lstm").is_checked()
    wait_until(
        page,
        "b => JSON.stringify([...document.querySelectorAll('article:nth-of-type(2) .next li')]"
        ".map(l => l.innerText)) !== b",
        arg=str(before),
    )
    assert chances(page, "lstm") != before
    assert panel(page, "lstm").locator(".mean").inner_text() != cost
    assert page.evaluate(state) != memory
    panel(page, "lstm").get_by_role("button", name="Let go of all gates").click()
    wait_until(page, "!studio.panels[1].held && !studio.predicting")
    assert panel(page, "lstm").locator(".mean").inner_text() == cost


def test_the_gru_becomes_the_vanilla_rnn(page):
    panel(page, "gru").get_by_role("button", name="r = 1, z = 0").click()
    settled(page, 2)
    wait_until(page, "document.querySelector('article:nth-of-type(3) .becomes').innerText")
    assert panel(page, "gru").locator(".becomes").inner_text().startswith("= rnn")
    picture = panel(page, "gru").locator(".picture")
    wait_until(
        page, "!document.querySelector('article:nth-of-type(3) .picture .isgate [data-name]')"
    )
    assert picture.locator(".isgate").count() == 0


def test_a_click_on_a_unit_shows_it_and_where_it_fires(page):
    memory = panel(page, "lstm").get_by_role("slider", name="lstm: c")
    memory.click(position={"x": 200, "y": 20})
    unit = page.get_by_role("region", name="Unit ")
    unit.locator("mark").first.wait_for()
    assert unit.locator("li").count() == 10
    wait_until(page, f"c => ({COLOURS})(c) > 5", arg=page.locator("#unit-plot").element_handle())
    unit.get_by_role("button", name="Close").click()
    assert unit.is_hidden()


def test_what_is_typed_is_read_by_all_at_once(page):
    page.get_by_role("textbox", name="Text that the networks read").fill(
        'print("hello", [1, 2, 3]) # é\n'
    )
    wait_until(page, "studio.panels.every(p => p.base.length === 31 && p.base.finished)")
    assert "31 bytes" in page.locator("#count").inner_text()


FIELD = "Text that the networks read"


def test_a_chinese_text_is_shown_in_its_characters(page):
    page.get_by_role("textbox", name=FIELD).fill("床前e\u0301 明月👍🏽")
    wait_until(page, "studio.panels.every(p => p.base.length === 24 && p.base.finished)")
    assert page.evaluate("studio.track.labels") == ["床", "前", "e\u0301", "·", "明", "月", "👍🏽"]
    assert page.evaluate("studio.track.widths") == [3, 3, 3, 1, 3, 3, 8]
    owners = "Array.from({ length: 24 }, (_, byte) => studio.track.labelAt(byte)).join('')"
    assert page.evaluate(owners) == "床床床前前前" + 3 * "e\u0301" + "·明明明月月月" + 8 * "👍🏽"
    told = "document.querySelector('.next').innerText"
    for at, read, coming in ((3, "床E5", "89"), (4, "床E589", "前"), (14, "·明E69C", "月")):
        page.evaluate(f"studio.goTo({at})")
        wait_until(page, f"{told}.includes('{read}') && {told}.includes('next byte is {coming}:')")
    assert "\ufffd" not in page.locator("body").inner_text()
    wait_until(page, f"c => ({COLOURS})(c) > 3", arg=page.locator("#strip").element_handle())


def test_an_emptied_text_leaves_nothing_of_the_old_one(page):
    page.get_by_role("textbox", name=FIELD).fill("")
    wait_until(page, "studio.panels.every(p => !p.reading)")
    page.wait_for_timeout(400)  # longer than anything that was on its way
    assert page.locator("#count").inner_text().startswith("0 bytes")
    for canvas in page.locator("canvas").all():
        assert not canvas.is_visible() or canvas.evaluate(COLOURS) == 1
    for part in (".next .context", ".next ol", ".next p", ".mean", "#readout"):
        assert page.locator(part).all_inner_texts() == len(page.locator(part).all()) * [""]
    page.keyboard.press("End")
    panel(page, "lstm").get_by_role("button", name="Close the forget gate").click()
    page.get_by_role("textbox", name=FIELD).fill("again")
    wait_until(page, "studio.panels.every(p => p.reading?.finished && p.reading.length === 5)")
    settled(page, 1)
    panel(page, "lstm").get_by_role("button", name="Let go of all gates").click()


def test_a_text_that_is_too_long_leaves_nothing_either(page):
    paste = "(field, text) => { field.value = text; field.dispatchEvent(new Event('input')); }"
    page.get_by_role("textbox", name=FIELD).evaluate(paste, "大" * 70_000)
    wait_until(page, "studio.panels.every(p => !p.reading)")
    assert "210,000 bytes" in page.get_by_role("alert").inner_text()


def test_what_to_try_first_holds_a_gate(page):
    assert panel(page, "rnn").locator(".tries").count() == 0
    words = panel(page, "lstm").locator(".tries button").all_inner_texts()
    assert words == [
        "Close the forget gate: it forgets",
        "Open the forget gate: it keeps",
        "Close the input gate: nothing new comes in",
    ]
    panel(page, "gru").get_by_role("button", name="Open the update gate: it keeps").click()
    settled(page, 2)
    assert page.evaluate("JSON.stringify(studio.panels[2].hold)") == '{"z":1}'
    panel(page, "gru").get_by_role("button", name="Let go of all gates").click()


def test_keys_alone_are_enough(page):
    page.locator("#models").focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("studio.at") == 3
    forget = panel(page, "lstm").get_by_role("slider", name="lstm: f")
    forget.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("studio.at") == 4
    wait_until(page, "document.activeElement.ariaValueText.includes('at step 4')")
    page.keyboard.press("Enter")
    wait_until(page, "document.getElementById('live').innerText.includes('Step 4,')")
    assert page.get_by_role("region", name="Unit ").is_visible()
    assert "lstm expects" in page.locator("#live").text_content()
    page.keyboard.press("End")
    assert page.evaluate("studio.at === studio.track.length - 1")


def test_everything_that_can_be_used_has_a_name(page):
    nameless = page.evaluate("""() =>
        [...document.querySelectorAll('button, input, textarea, canvas, select')]
        .filter(e => !(e.getAttribute('aria-label') || e.innerText || e.labels?.length
                       || e.getAttribute('aria-labelledby') || e.title))
        .filter(e => e.checkVisibility()).map(e => e.outerHTML)""")
    assert nameless == []


def test_a_long_text_is_drawn_from_coarse_tiles(page):
    paste = "(field, text) => { field.value = text; field.dispatchEvent(new Event('input')); }"
    text = "def f(x): return x\n" * 3000
    page.get_by_role("textbox", name="Text that the networks read").evaluate(paste, text)
    wait_until(
        page, "studio.panels.every(p => p.base.length === 57000 && p.base.finished)", seconds=120
    )
    page.get_by_role("button", name="Whole text").click()
    wait_until(page, "studio.panels[1].base.tiles.get('/0/c/2/0')?.columns > 400")
    assert page.evaluate("studio.panels[1].base.tiles.size") < 60
    memory = panel(page, "lstm").get_by_role("slider", name="lstm: c")
    wait_until(page, f"c => ({COLOURS})(c) > 8", arg=memory.element_handle())


@pytest.mark.parametrize("width", [360, 800])
def test_a_narrow_page_does_not_scroll_sideways(browser, address, width):
    with browser.visit(address, viewport={"width": width, "height": 700}) as page:
        wait_until(page, "window.studio?.panels.every(p => p.base?.finished)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_rows_are_named_and_found_as_the_server_does(page):
    lengths = (
        {"head": 2, "key": 3},
        {"head": 2, "key": 3, "value": 4},
        {"head": 2},
        {"value": 4},
        {},
    )
    rows = [Rows.of(math.prod(own.values()) if own else 5, own, "open") for own in lengths]
    values = [{"units": r.count, "axes": [[*a] for a in r.axes.items()]} for r in rows]
    ask = "([f, ...args]) => import('/text.js').then(text => text[f](...args))"
    for (one, a), (other, b) in itertools.product(zip(rows, values, strict=True), repeat=2):
        for row in range(other.count):
            assert page.evaluate(ask, ["rowAt", a, b, row]) == one.row_at(other, row)
    for one, value in zip(rows, values, strict=True):
        named = page.evaluate(ask, ["rowName", value, one.count - 1])
        assert named == label(one.axes, one.count - 1)
