"""Each state of the pipeline, as a person meets it on the page in a real Chromium."""

from tests.browser._window import DESK, PHONE
from tests.browser.conftest import Page
from tests.monitor_states import (
    MARKUP,
    STATES,
    broken_broker,
    decided,
    empty,
    hostile,
    loading,
    running,
    topics_missing,
)


def test_no_state_scrolls_sideways_on_a_phone_or_a_desk(page: Page) -> None:
    window = page.show(loading(), size=PHONE)
    for state in STATES.values():
        page.turn(state())
        for size in (PHONE, (700, 800), (1024, 800), DESK):
            window.size(*size)
            window.wait("innerWidth === arguments[0] && document.documentElement.scrollWidth <= innerWidth", size[0])
            assert window.probe("beyond") == []


def test_before_the_broker_answers_it_says_so_and_what_starts_one(page: Page) -> None:
    window = page.show(loading())
    assert window.js("document.title") == "waiting for the broker · flights · Headwater"
    assert window.text("#mood") == "waiting for the broker"
    banner = window.text("#banner")
    assert "Waiting for Kafka at 127.0.0.1:9092" in banner
    assert "python -m infra.kafka" in banner
    assert window.count("#flow .node") == 15
    assert window.count("#flow .step[data-state=absent]") == 7
    assert window.count("#rejected tbody tr, #snapshots tbody tr, #predictions li") == 0
    for section in ("metrics", "freshness", "predictions", "rejected", "snapshots", "experiment"):
        assert len(window.text(f"#{section} .none")) > 15, section


def test_without_events_it_shows_the_command_that_publishes(page: Page) -> None:
    window = page.show(empty())
    assert window.js("document.title").startswith("no events yet")
    assert "headwater publish SPEC FILE --label COLUMN" in window.text("#banner")
    assert window.text("#banner button") == "Copy"
    assert "headwater run SPEC clean encode join learn" in window.text("#notes")
    assert "No experiment" in window.text("#experiment")
    assert "No snapshot yet" in window.text("#snapshots")


def test_without_topics_it_shows_the_command_that_makes_them(page: Page) -> None:
    window = page.show(topics_missing())
    assert "headwater topics create SPEC" in window.text("#banner")
    assert window.js("document.title").startswith("topics missing")


def test_the_picture_has_every_topic_and_step_with_rate_and_lag(page: Page) -> None:
    window = page.show(running())
    words = window.js(
        "Object.fromEntries([...document.querySelectorAll('#flow .node')].map((n) => [n.dataset.name, n.textContent]))"
    )
    assert set(words) >= {"events", "labels", "training", "models", "predictions", "metrics", "dead", "experiment"}
    assert words["join"] == "join480/slag 431"
    assert words["events"] == "events1,000250/s"
    assert words["evaluate"] == "evaluatestalledlag 905"
    assert words["ship"] == "shipnot running–"
    assert window.count("#flow .way") == 16
    assert window.count("#flow .way.quiet") < 8
    assert window.js("document.title").startswith("evaluate stalled")
    assert "The step evaluate does not go on" in window.text("#banner")
    assert window.text("#banner code") == "headwater run SPEC evaluate"
    for width in (1280, 1024, 760, 360):
        window.size(width, 900)
        window.wait("document.querySelector('#flow svg').width.baseVal.value > innerWidth * 0.85")
        assert window.probe("untidy") == []


def test_quality_has_a_line_in_each_arm_s_colour_and_another_metric_is_one_key_away(page: Page) -> None:
    window = page.show(running())
    for arm in range(3):
        assert window.probe("pixels", "#metrics canvas", f"--arm-{arm}") > 150
    window.js("document.querySelector('#metrics [aria-checked=true]').focus()")
    assert window.text("#metrics [aria-checked=true]") == "AUC"
    window.press("ARROW_RIGHT")
    assert window.focused() == "log loss"
    assert window.js("document.querySelector('#metrics .plot').ariaLabel").startswith(
        "log loss by arm over time; now: logistic 0.4510, tree"
    )
    window.js("document.querySelector('#metrics .plot').focus()")
    before = window.text("#metrics .readout")
    window.press("HOME")
    window.wait("document.querySelector('#metrics .readout').innerText !== arguments[0]", before)
    assert "logistic 0.6000" in window.text("#metrics .readout")


def test_figures_tell_arms_freshness_and_accounts(page: Page) -> None:
    window = page.show(running())
    assert "99 % within 812 ms, goal 1 s" in window.text("#figures")
    assert window.count("#figures .figure") == 5
    assert window.count("#arms tbody tr") == 3
    assert "shadow" in window.text("#arms tbody tr:nth-child(3)")
    assert "✓ equal" in window.text("#accounts tbody tr:nth-child(1)")
    assert "1 under way" in window.text("#accounts tbody tr:nth-child(2)")


def test_large_numbers_are_grouped(page: Page) -> None:
    state = running()
    state["flow"]["topics"][0]["records"] = 100_000
    state["flow"]["steps"][0]["lag"] = 1_234_567
    state["dead"]["by_code"] = {"value.missing": 123_456}
    window = page.show(state)
    assert "100,000" in window.text("#figures")
    assert window.js("document.querySelector('[data-name=clean] .two').textContent") == "lag 1.23 M"
    assert "123,456" in window.text("#rejected .codes")


def test_an_undecided_experiment_is_told_in_words_with_its_shares(page: Page) -> None:
    window = page.show(running())
    assert window.count("#experiment .track") == 1
    assert "Undecided after 1,280 outcomes" in window.text("#experiment .words")
    assert "still holds zero" in window.text("#experiment .words")
    assert "logistic 50 %" in window.text("#experiment .legend").replace("\n", " ")
    assert "each arm gets its share (p 0.610" in window.text("#experiment .ratio")
    assert window.count("#experiment .history li") == 1


def test_a_decided_experiment_names_the_better_and_the_worse_arm(page: Page) -> None:
    window = page.show(decided())
    assert window.js("[...document.querySelectorAll('.verdict')].map((v) => v.textContent)") == ["better", "worse"]
    words = window.text("#experiment .track:nth-child(1) .words")
    assert words == (
        "Better than logistic after 1,280 outcomes: the difference in brier is −0.0120, and its interval "
        "−0.0170 … −0.0070 leaves out zero."
    )
    assert window.text("#experiment .history li:first-child b") == "promote tree"
    assert window.count("#experiment .history li") == 3
    assert window.count("#experiment canvas") == 2
    assert "headwater rollback SPEC --release" in window.text("#notes")
    assert window.text("#snapshots tr[data-serving=true]").split() == ["41", "2", "s", "ago", "18,040", "passed",
        "logistic", "0.7100,", "tree", "0.7300", "serving,", "pinned"]  # fmt: skip


def test_predictions_are_listed_and_arrows_walk_them(page: Page) -> None:
    window = page.show(running())
    assert window.count("#predictions [role=option]") == 20
    assert window.count("#predictions .bars i") == 2
    assert window.count("#predictions .bars .up") == 1
    window.js("document.querySelector('#predictions [aria-selected=true]').focus()")
    window.press("ARROW_DOWN", "ARROW_DOWN")
    assert "Not explained: the event is not among the newest on Kafka." in window.text("#predictions .why")
    assert window.count("#predictions [tabindex='0']") == 1
    newer = running()
    newer["predictions"] = [
        {**newer["predictions"][0], "id": "new", "served_ms": newer["at_ms"] + 5},
        *newer["predictions"][:19],
    ]
    page.turn(newer)
    window.wait("document.querySelector('#predictions .head .soft').innerText === 'Held while you look; 1 newer.'")
    assert "UA1547" in window.text("#predictions [aria-selected=true]")
    window.js("document.activeElement.blur()")
    window.wait("document.querySelector('#predictions [role=option]').innerText.startsWith('new')")
    assert "UA1547" in window.text("#predictions .why")


def test_what_was_explained_stays_when_newer_answers_are_not(page: Page) -> None:
    window = page.show(running())
    later, state = running(), running()
    none = "not looked at yet"
    later["predictions"] = [
        {**p, "id": f"later {i}", "served_ms": p["served_ms"] + 5000, "why": None, "why_not": none}
        for i, p in enumerate(state["predictions"])
    ]
    page.turn(later)
    assert window.count("#predictions [role=option]") == 28
    assert window.text("#predictions [role=option]").startswith("later 0")
    assert window.text("#predictions .why").startswith(state["predictions"][0]["id"])
    assert window.count("#predictions .bars i") == 2


def test_a_broken_broker_says_what_to_do_and_how_old_the_rest_is(page: Page) -> None:
    window = page.show(broken_broker())
    assert window.js("document.title").startswith("broker unreachable")
    banner = window.text("#banner")
    assert "Kafka at 127.0.0.1:9092 does not answer" in banner
    assert "see whether it runs" in banner
    window.wait("/last known values, \\d+\\s+s old/.test(document.querySelector('#banner').innerText)")
    assert window.count("main.stale") == 1
    assert window.count("#rejected tbody tr") == 50
    assert "Kafka" in window.text("#announce")
    page.turn(running())
    window.wait("!document.querySelector('main.stale')")


def test_when_the_monitor_itself_is_gone_the_page_says_so_and_comes_back(lonely) -> None:
    web, page = lonely(running())
    window = page.show(running(), token=False)
    port = int(page.url.rstrip("/").rpartition(":")[2])
    web.stop()
    window.wait("document.querySelector('#banner').innerText.includes('The monitor itself does not answer')")
    assert window.js("document.title").startswith("monitor lost")
    assert window.count("main.stale") == 1
    assert window.text("#banner section > button") == "Try now"
    lonely(running(), port)
    window.wait("!document.querySelector('main.stale') && document.title.startsWith('evaluate stalled')")


def test_markup_in_data_stays_text(page: Page) -> None:
    window = page.show(hostile())
    assert MARKUP[:40] in window.js("document.title")
    assert window.count("img, main script, main a") == 0
    assert MARKUP[:40] in window.js("document.querySelector('#rejected tbody').textContent")
    assert MARKUP[:40] in window.js("document.querySelector('#predictions .why').textContent")
    assert MARKUP[:40] in window.js("document.querySelector('#snapshots tbody').textContent")
    assert window.js("document.querySelector('#pipeline').textContent") == MARKUP
