"""One Chromium and one monitor for all tests of the page; each test says what the monitor knows.

Chromium is that of HEADWATER_CHROMIUM, else the one on the PATH; without it and its driver these tests are skipped.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.monitor.access import Access
from consumers.monitor.run import Web
from consumers.monitor.state import State
from stream.errors import DataError
from tests.browser import _window
from tests.browser._window import Window
from tests.monitor_states import running

EVERY_S = 0.15  # between two states: as the product, only quicker
TOKEN = "token-of-the-tests"


class Pipeline:
    """What the monitor tells in a test, and what was asked of it. refuse: the next request fails with this."""

    def __init__(self) -> None:
        self.now: State = running()
        self.asked: list[tuple[str, object]] = []
        self.refuse = ""

    def state(self) -> State:
        return self.now

    def replay(self, offsets: tuple[int, ...], code: str) -> str:
        return self._take("replay", code or offsets)

    def rollback(self, generation: int | None) -> str:
        return self._take("rollback", generation)

    def _take(self, what: str, given: object) -> str:
        self.asked.append((what, given))
        if self.refuse:
            raise DataError(self.refuse)
        return f"{what} of {given} done"


class Page:
    """The page in the browser, and the pipeline that it shows."""

    def __init__(self, window: Window, pipeline: Pipeline, port: int) -> None:
        self.window, self.pipeline, self.url = window, pipeline, f"http://127.0.0.1:{port}/"
        self._turns = 0

    def show(self, state: State, *, token: bool = True, **how: object) -> Window:
        """Open afresh in this state."""
        self.pipeline.now = state
        self.window.driver.delete_all_cookies()
        self.window.open(self.url + (f"#token={TOKEN}" if token else ""), **how)  # type: ignore[arg-type]
        return self.window

    def turn(self, state: State) -> None:
        """The same page, told something new; returns when it has drawn that."""
        self._turns += 1
        mark = f"turn {self._turns}"
        self.pipeline.now = {**state, "notes": [*state["notes"], mark]}
        self.window.wait(
            "[...document.querySelectorAll('#notes li')].some((n) => n.textContent === arguments[0])", mark
        )


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """Starts once; skips where there is none."""
    if _window.found() is None:
        pytest.skip("no chromium with chromedriver on the PATH, nor at HEADWATER_CHROMIUM")
    with _window.chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Pipeline, int]]:
    """The product's own server, so its headers hold here too; only what it knows is made up."""
    pipeline = Pipeline()
    web = Web(pipeline, Access("127.0.0.1", 0, True, (), TOKEN), every_s=EVERY_S)
    yield pipeline, web.start()
    web.stop()


@pytest.fixture
def page(window: Window, served: tuple[Pipeline, int]) -> Iterator[Page]:
    """A page for this test, and no complaint of the console at its end."""
    pipeline, port = served
    pipeline.asked, pipeline.refuse = [], ""
    yield Page(window, pipeline, port)
    assert window.errors() == []


@pytest.fixture
def lonely(window: Window) -> Iterator[Callable[[State], tuple[Web, Page]]]:
    """A monitor of its own that a test may stop and start again at the same port."""
    started: list[Web] = []

    def start(state: State, port: int = 0) -> tuple[Web, Page]:
        pipeline = Pipeline()
        pipeline.now = state
        web = Web(pipeline, Access("127.0.0.1", port, False), every_s=EVERY_S)
        started.append(web)
        return web, Page(window, pipeline, web.start())

    yield start
    for web in started:
        web.stop()
    window.driver.get("about:blank")
    window.errors()


@pytest.fixture(scope="session")
def static() -> Path:
    """The page's files."""
    from consumers.monitor.server import STATIC

    return STATIC
