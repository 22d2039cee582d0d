"""A real Chromium, driven by Selenium, and what the tests ask of it."""

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

VARIABLE = "HEADWATER_CHROMIUM"
WAIT_S = 60.0
PROBE = Path(__file__).with_name("probe.js").read_text()
DESK, PHONE = (1280, 900), (360, 740)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--no-proxy-server",
)  # fmt: skip


def found() -> tuple[str, str] | None:
    """Chromium and its driver: that of HEADWATER_CHROMIUM, else those on the PATH; None where one lacks."""
    browser = os.environ.get(VARIABLE) or shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver and Path(browser).exists() else None


class Window:
    """One tab. Sizes, colours and motion are those that a test says."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, size: tuple[int, int] = DESK, dark: bool = False, still: bool = True) -> None:
        """A fresh page; nothing is kept of the last one."""
        self.driver.get("about:blank")
        self.size(*size)
        self.media(dark, still)
        self.errors()
        self.driver.get(url)
        self.wait(
            "document.readyState === 'complete' && document.querySelector('main').getAttribute('aria-busy') === 'false'"
        )

    def size(self, width: int, height: int, scale: float = 1) -> None:
        shape = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    def media(self, dark: bool, still: bool = True) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def js(self, expression: str, *given: Any) -> Any:
        """What the expression is worth; a text with plain spaces."""
        worth = self.driver.execute_script(f"return ({expression})", *given)
        return worth.replace("\xa0", " ") if isinstance(worth, str) else worth

    def probe(self, name: str, *given: Any) -> Any:
        """A measurement of probe.js."""
        return self.driver.execute_script(f"{PROBE}\nreturn probe.{name}(...arguments)", *given)

    def wait(self, expression: str, *given: Any) -> Any:
        """Until the expression is true; what it is worth then."""
        limit_s = time.monotonic() + WAIT_S
        while not (worth := self.js(expression, *given)):
            assert time.monotonic() < limit_s, f"never came true: {expression}\n{self.errors()}"
            time.sleep(0.05)
        return worth

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return str(self.js("document.querySelector(arguments[0]).innerText", selector))

    def count(self, selector: str) -> int:
        return int(self.js("document.querySelectorAll(arguments[0]).length", selector))

    def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

    def focused(self) -> str:
        """Name of what has the focus, as a screen reader would say it."""
        return str(self.js("document.activeElement.ariaLabel || document.activeElement.innerText"))

    def tab_to(self, name: str, most: int = 120) -> None:
        """By Tab alone."""
        for _ in range(most):
            if self.focused() == name:
                return
            self.press("TAB")
        raise AssertionError(f"{name!r} was not reached with {most} tabs")

    def picture(self, top: int, height: int) -> bytes:
        """PNG of the page from there, so high, whatever the window's size."""
        width = self.js("innerWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        return base64.b64decode(shot["data"])

    def errors(self) -> list[str]:
        """What the console complained of since the last call."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


@contextmanager
def chromium(profile: Path) -> Iterator[Window]:
    """Starts it, ends it."""
    where = found()
    assert where is not None
    options = Options()
    options.binary_location = where[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(where[1]))
    try:
        yield Window(driver)
    finally:
        driver.quit()


def until(told: Callable[[], Any]) -> Any:
    """Until it is true; what it is worth then."""
    limit_s = time.monotonic() + WAIT_S
    while not (worth := told()):
        assert time.monotonic() < limit_s, "never came true"
        time.sleep(0.02)
    return worth
