"""Takes the pictures of the studio and of a report in the documentation.

    python docs/tools/photograph.py COMPARISON

COMPARISON is a folder made by `gatework compare`. Needs Chromium and the test extra.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
SERVE = "from gatework.cli import main; main(['studio', '{}', '--port', '0', '--no-browser'])"
READ = "window.studio?.panels.every(p => p.base?.finished && (!p.held || p.held.finished))"


def studio(page: Page, folder: str) -> None:
    """The three networks; the LSTM's forget gate is held."""
    command = [sys.executable, "-u", "-c", SERVE.format(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        page.goto(process.stdout.readline().split()[1])
        settle(page)
        page.get_by_role("checkbox", name="Hold f of lstm").check()
        settle(page)
        save(page, "studio.png")
        process.terminate()


def report(page: Page, folder: str) -> None:
    """The head of the report on one network."""
    path = Path(folder, "lstm", "inspection.html")
    command = f"from gatework.cli import main; main(['inspect', '{path.parent}'])"
    subprocess.run([sys.executable, "-c", command], check=True)
    page.goto(path.resolve().as_uri())
    save(page, "inspection.png")


def settle(page: Page) -> None:
    """Wait until everything is read and drawn."""
    page.wait_for_timeout(500)
    while not page.evaluate(READ):
        page.wait_for_timeout(100)
    page.wait_for_timeout(2000)


def save(page: Page, name: str) -> None:
    """A picture of what is seen, in 128 colours, so that it is small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small.save(IMAGES / name, optimize=True)


def main() -> None:
    """Take the pictures."""
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        studio(chromium.new_page(viewport={"width": 1200, "height": 1100}), sys.argv[1])
        report(chromium.new_page(viewport={"width": 800, "height": 1000}), sys.argv[1])
        chromium.close()


if __name__ == "__main__":
    main()
