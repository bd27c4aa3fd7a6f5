"""The pictures of docs/gallery.md, from the demonstration: `uv run python -m tools.make_screenshots`.

Needs Debian's chromium and its driver. With `--root`, of a root that is there already.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.support.browser import Browser, browser

FOLDER = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hotfolder-pictures-") as folder:
        root = asked.root or Path(folder) / "demo"
        if asked.root is None:
            subprocess.run([sys.executable, "-m", "hotfolder", "demo", str(root)], check=True)
        command = [sys.executable, "-m", "hotfolder", "gallery", "--root", str(root), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            with browser(Path(folder) / "profile") as page:
                _take(page, address)
        finally:
            server.terminate()
            server.wait(20)


def _take(page: Browser, address: str) -> None:
    page.tell(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )  # as most who cull
    page.open(f"{address}?sort=best")
    _settle(page)
    _save(page, "gallery")
    page.press("t")
    page.run(
        "void ((field) => { field.value = 7.6; field.dispatchEvent(new Event('input')); })"
        "(document.getElementById('threshold'))"
    )
    _settle(page)
    _save(page, "gallery-threshold")
    page.press("t")
    page.open(f"{address}?role=generated&sort=best&folder=keep")
    _settle(page)
    page.run("void gallery.loupe.open(gallery.grid.focus)")
    page.press("i")
    _settle(page)
    _save(page, "gallery-why")
    page.open(f"{address}?role=upscaled&sort=gain")
    _settle(page)
    page.run("void (gallery.loupe.open(gallery.grid.focus), gallery.loupe.before())")
    _settle(page)
    _save(page, "gallery-before")


def _settle(page: Browser) -> None:
    time.sleep(1.5)
    page.until(
        "[...document.querySelectorAll('.cell img[src], .pane img[src]')].every((each) => each.complete)",
        "pictures",
    )
    time.sleep(0.5)


def _save(page: Browser, name: str) -> None:
    path = FOLDER / f"{name}.png"
    page.driver.save_screenshot(str(path))
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(200, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    sys.stderr.write(f"{path.name}: {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
