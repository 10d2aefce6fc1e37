"""A real Chromium, if there is one: the report is tested where it is read."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium (VERIFY_CHROMIUM, else on the PATH); skips without it or without playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("VERIFY_CHROMIUM") or next((p for p in map(shutil.which, names) if p), None)
    if path is None:
        pytest.skip("no Chromium here: install one, or name it with VERIFY_CHROMIUM")
    with playwright.sync_playwright() as runner:
        arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
        found = runner.chromium.launch(executable_path=path, args=arguments)
        yield found
        found.close()


class Opened:
    """A page that was opened, and everything that it said and asked for."""

    def __init__(self, page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))


@pytest.fixture
def show(browser, tmp_path):
    """Open HTML as a reader does, from a file; returns an `Opened`."""
    contexts = []

    def opened(html: str, *, width: int = 1200, dark: bool = False, script: bool = True) -> Opened:
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.goto(path.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()
