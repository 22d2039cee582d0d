"""Replay and rollback from the page, by keyboard alone; and that none may be done where it may not."""

import pytest

from tests.browser._window import until
from tests.browser.conftest import TOKEN, Page
from tests.monitor_states import decided, running


def test_the_first_tab_stop_skips_to_the_figures(page: Page) -> None:
    window = page.show(running())
    window.press("TAB")
    assert window.focused() == "Skip to the figures"
    window.wait("document.activeElement.getBoundingClientRect().top >= 0")
    window.press("ENTER")
    window.wait("document.activeElement.id === 'main'")


def test_one_record_is_replayed_by_keyboard_after_a_question(page: Page) -> None:
    window = page.show(running())
    window.js("document.querySelector('#rejected-h').focus()")
    window.tab_to("Replay events 0@2480")
    assert window.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    window.press("ENTER")
    window.wait("document.querySelector('dialog').open")
    assert window.focused() == "Cancel"
    assert "It goes back to flights.events as it was (120 B)" in window.text("dialog")
    assert page.pipeline.asked == []
    window.press("TAB")
    assert window.focused() == "Replay"
    for _ in range(4):
        window.press("TAB")
        assert window.js(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))"
        )
    window.js("document.querySelector('dialog .go').focus()")
    window.press("ENTER")
    assert until(lambda: page.pipeline.asked) == [("replay", (62,))]
    window.wait("!document.querySelector('dialog').open")
    window.wait("document.querySelector('#rejected .outcome').innerText === 'replay of (62,) done'")
    assert window.focused() == "Replay events 0@2480"


def test_escape_asks_for_nothing(page: Page) -> None:
    window = page.show(running())
    window.js("document.querySelector('#rejected .codes button').focus()")
    window.press("ENTER")
    window.wait("document.querySelector('dialog').open")
    assert "40 records go back" in window.text("dialog")
    window.press("ESCAPE")
    window.wait("!document.querySelector('dialog').open")
    assert window.focused() == "Replay all with value.out_of_range"
    assert page.pipeline.asked == []


def test_all_of_one_reason_are_replayed(page: Page) -> None:
    window = page.show(running())
    window.js("document.querySelector('#rejected .codes button').focus()")
    window.press("ENTER", "TAB", "ENTER")
    assert until(lambda: page.pipeline.asked) == [("replay", "value.out_of_range")]


def test_a_rollback_says_what_will_happen_and_is_asked_once(page: Page) -> None:
    window = page.show(running())
    window.js("document.querySelector('#snapshots-h').focus()")
    window.tab_to("Roll back to generation 42")
    window.press("ENTER")
    told = window.wait("document.querySelector('dialog').open && document.querySelector('dialog').innerText")
    for words in (
        "Send every server to generation 42?",
        "18,480 labels",
        "Its gate refused it: logistic: log_loss rose",
        "--release",
    ):
        assert words in told
    window.press("TAB", "ENTER")
    assert until(lambda: page.pipeline.asked) == [("rollback", 42)]
    window.wait("document.querySelector('#snapshots .outcome').innerText.includes('rollback of 42 done')")
    assert page.pipeline.asked == [("rollback", 42)]


def test_a_pinned_snapshot_is_released(page: Page) -> None:
    window = page.show(decided())
    window.js("document.querySelector('#snapshots-h').focus()")
    window.tab_to("Release")
    window.press("ENTER", "TAB", "ENTER")
    assert until(lambda: page.pipeline.asked) == [("rollback", None)]


def test_what_the_monitor_refuses_stays_in_the_dialog(page: Page) -> None:
    window = page.show(running())
    page.pipeline.refuse = "generation: found 42; there are 44, 43"
    window.js("document.querySelector('#snapshots td button').focus()")
    window.press("ENTER", "TAB", "ENTER")
    window.wait("document.querySelector('dialog .fault').innerText === 'generation: found 42; there are 44, 43'")
    assert window.js("document.querySelector('dialog').open")
    assert any("409" in e for e in window.errors())  # the browser's own line about the answer


def test_focus_and_choice_stay_while_seconds_pass(page: Page) -> None:
    window = page.show(running())
    window.js("document.querySelectorAll('#snapshots td button')[2].focus()")
    name = window.focused()
    state = running()
    state["snapshots"] = [
        {**state["snapshots"][0], "generation": 45, "as_of_ms": state["at_ms"]},
        *state["snapshots"][:-1],
    ]
    state["snapshots"][1]["serving"] = False
    page.turn(state)
    window.wait("document.querySelector('#snapshots tbody th').innerText === '45'")
    assert window.focused() == name


@pytest.mark.parametrize("way", ["read-only", "no token"])
def test_without_the_right_there_are_no_buttons_but_how_to_get_them(page: Page, way: str) -> None:
    state = running()
    state["writable"] = way == "no token"
    page.window.driver.get(page.url)
    page.window.js("sessionStorage.clear()")
    window = page.show(state, token=way == "read-only")
    assert window.count("#rejected button, #snapshots button") == 0
    wanted = "headwater monitor SPEC --write" if way == "read-only" else "with its #token"
    assert wanted in window.text("#rejected .how")
    assert wanted in window.text("#snapshots .how")


def test_the_token_leaves_the_address(page: Page) -> None:
    window = page.show(running())
    assert TOKEN not in window.js("location.href")
