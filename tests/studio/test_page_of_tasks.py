"""The page in a real browser, for networks of each task: a gate is held, the prediction changes."""

import pytest

from browser import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

READY = "window.studio?.panels.every(p => p.base?.finished && p.expected)"
SETTLED = "(p => p.held?.finished && !studio.predicting)(studio.panels[0])"
FAN = "canvas => canvas.toDataURL()"
TITLES = {
    "forecast": "What comes next?",
    "classify": "Which class?",
    "both": "Which class?",
    "regress": "Which number?",
    "tag": "Which class?",
}


@pytest.mark.parametrize("kind", TITLES)
def test_holding_a_gate_changes_what_is_predicted(browser, served, of_task, kind):
    with served(of_task(kind)) as address, browser.visit(address) as page:
        wait_until(page, READY)
        said = page.locator(".next")
        assert said.locator("h3").inner_text() == TITLES[kind]
        before, cost = said.inner_text(), page.locator(".mean").inner_text()
        fan = said.locator("canvas")
        drawn = fan.evaluate(FAN)
        assert fan.is_visible() == (kind == "forecast")
        page.locator(".tries button").first.click()
        wait_until(page, SETTLED)
        wait_until(page, "before => document.querySelector('.next').innerText !== before", before)
        assert "before" in said.inner_text()
        assert page.locator(".mean").inner_text().startswith(cost) is False
        assert (fan.evaluate(FAN) != drawn) == (kind == "forecast")
        held = page.evaluate("Object.keys(studio.panels[0].hold)[0]")
        tile = f"studio.panels[0].held.tiles.get('/0/{held}/0/0')"
        wait_until(page, tile)
        assert page.evaluate(f"new Set({tile}.codes).size") == 1
        page.get_by_role("button", name="Let go of all gates").click()
        wait_until(page, "!studio.panels[0].held && !studio.predicting")
        wait_until(page, "before => document.querySelector('.next').innerText === before", before)


def test_another_sequence_is_chosen_and_a_unit_looked_up(browser, served, of_task):
    with served(of_task("both")) as address, browser.visit(address) as page:
        wait_until(page, READY)
        first = page.evaluate("studio.asked.sequence")
        choice = page.get_by_label("Sequence that the networks read")
        other = choice.locator("option").nth(1).get_attribute("value")
        choice.select_option(other if other != str(first) else "0")
        wait_until(page, f"studio.asked.sequence !== {first} && {READY}")
        wait_until(page, "studio.at === studio.track.length - 1")
        page.get_by_label("Layer").select_option(label="layer 1, backward")
        page.get_by_role("slider", name="both: h").click(position={"x": 30, "y": 20})
        unit = page.get_by_role("region", name="Unit ")
        unit.locator("li canvas").first.wait_for()
        assert unit.locator("li").count() == 10
        assert "step" in unit.locator("li small").first.inner_text()


def test_a_series_has_its_place_and_a_narrow_page_does_not_scroll(browser, served, of_task):
    narrow = {"viewport": {"width": 360, "height": 700}, "color_scheme": "dark"}
    with served(of_task("forecast")) as address, browser.visit(address, **narrow) as page:
        wait_until(page, READY)
        assert page.evaluate("studio.at") == 23  # from the last step that was learned from
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert "held-out sequences" in page.locator("#sequence-count").inner_text()
