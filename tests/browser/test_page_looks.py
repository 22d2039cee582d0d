"""What the eye needs: contrast in light and dark, colours that are kept, motion that can be off."""

import re
from pathlib import Path

import pytest

from consumers.monitor.state import State
from tests.browser.conftest import Page
from tests.monitor_states import STATES, decided, loading, running


def test_every_text_has_enough_contrast_in_light_and_dark(page: Page) -> None:
    window = page.show(loading())
    for name, state in STATES.items():
        page.turn(state())
        for dark in (True, False):
            window.media(dark)
            found = window.probe("contrast")
            assert found["seen"] > 60
            assert found["poor"] == [], (name, dark)


def test_a_dialog_has_enough_contrast(page: Page) -> None:
    window = page.show(running(), dark=True)
    window.js("document.querySelector('#rejected button').click()")
    window.wait("document.querySelector('dialog').open")
    for dark in (True, False):
        window.media(dark)
        assert window.probe("contrast")["poor"] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_lines_and_bars_stand_out_from_the_ground(page: Page, dark: bool) -> None:
    window = page.show(decided(), dark=dark)
    found = window.probe("marks", [*(f"--arm-{i}" for i in range(6)), "--accent", "--edge"])
    assert {k: v for k, v in found.items() if v < 3} == {}


def test_the_choice_of_colours_wins_over_the_system_and_is_kept(page: Page) -> None:
    window = page.show(running())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = window.js(ground)
    window.tab_to("Auto")
    window.press("ARROW_RIGHT", "ARROW_RIGHT")
    assert window.focused() == "Dark"
    dark = window.js(ground)
    assert dark != light
    window = page.show(running())
    assert window.js(ground) == dark
    window.js("document.querySelector('#theme [aria-checked=true]').focus()")
    window.press("ARROW_RIGHT")
    assert window.js(ground) == light
    window.media(dark=True)
    window.wait(f"{ground} === arguments[0]", dark)


def test_a_chart_is_drawn_again_in_the_colours_of_the_dark(page: Page) -> None:
    window = page.show(running())
    shot = "document.querySelector('#freshness canvas').toDataURL()"
    before = window.js(shot)
    window.media(dark=True)
    window.wait(f"{shot} !== arguments[0]", before)


def test_dots_travel_each_second_but_not_for_those_who_want_less_motion(page: Page) -> None:
    most = "(window.most = 0, setInterval(() => (most = Math.max(most, document.getAnimations().length)), 10), true)"
    for still in (False, True):
        state = running()
        window = page.show(state, still=still)
        window.js(most)
        for i in range(3):
            later: State = {**state, "at_ms": state["at_ms"] + 1000 * (i + 1)}
            page.turn(later)
        assert (window.js("window.most") == 0) == still


def test_names_and_roles_are_there_for_those_who_listen(page: Page) -> None:
    window = page.show(decided())
    assert window.js("document.documentElement.lang") == "en"
    assert window.probe("nameless") == []
    assert window.js("[...document.querySelectorAll('h1, h2, h3')].map((h) => h.tagName)[0]") == "H1"
    assert window.count("[aria-live=polite], [role=status]") <= 4


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(page: Page, static: Path) -> None:
    window = page.show(running())
    loaded = window.js("performance.getEntriesByType('resource').map((r) => r.name)")
    assert len(loaded) > 15
    assert [u for u in loaded if not u.startswith(page.url)] == []
    html = (static / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script>", html)
    for script in static.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script.read_text()), (
            script
        )


def test_modules_of_the_page_are_short_and_uplot_keeps_its_licence(static: Path) -> None:
    assert max(len(p.read_text().splitlines()) for p in [*static.glob("*.js"), *static.glob("style/*.css")]) <= 300
    assert "Permission is hereby granted" in (static / "vendor" / "uPlot.LICENSE").read_text()
