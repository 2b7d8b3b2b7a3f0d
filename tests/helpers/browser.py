"""A real browser for tests: the machine's Chromium, kept from leaving the machine.

    def test_something(browser):
        with browser.visit(address) as page: ...

A page that logs an error, throws, or asks another machine for anything fails its test.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str:
    """Where Chromium is; without it the test is skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


def wait_until(page: Any, expression: str, arg: Any = None, seconds: float = 60.0) -> None:
    """Wait until an expression of the page holds; playwright's own way is against its policy."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"still not so after {seconds:g} s: {expression}"
        page.wait_for_timeout(20)


class Browser:
    """A running Chromium."""

    def __init__(self, chromium: Any) -> None:
        self.chromium = chromium

    @contextmanager
    def visit(self, address: str, **settings: Any) -> Iterator[Any]:
        """Open a page, and check at the end that nothing went wrong in it."""
        faults: list[str] = []
        page = self.chromium.new_page(**{"viewport": {"width": 1280, "height": 900}, **settings})
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else 0)
        page.on("pageerror", lambda error: faults.append(str(error)))
        origin = address.split("/")[2] if address.startswith("http") else ""

        def asked(request: Any) -> None:
            own = request.url.startswith((f"http://{origin}/", "data:", "blob:"))
            if not (own if origin else request.url.startswith(("file:", "data:", "blob:"))):
                faults.append(f"asked for {request.url}")

        page.on("request", asked)
        page.goto(address)
        try:
            yield page
        finally:
            page.close()
        assert faults == [], faults


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, headless, through playwright, which brings no browser of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = executable()
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        chromium = driver.chromium.launch(executable_path=path, args=options)
        yield Browser(chromium)
        chromium.close()
