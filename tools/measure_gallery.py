"""The gallery with 100,000 images, in a real browser: `uv run python -m tools.measure_gallery`.

Makes a database of that size, whose pictures are a few files many times over, and measures: how long the first grid
takes, how many cells are in the document, the longest gap between two frames while it is scrolled from end to end,
from a key to the next picture, and the server's memory. It ends by itself; everything is on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hotfolder.cli.setup import make_root
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger

#: Different contents, and pixels of each.
_CONTENTS, _SIDE = 200, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--root", type=Path, help="keep the root here, and use it again")
    asked = parser.parse_args()
    folder = asked.root or Path(tempfile.mkdtemp(prefix="hotfolder-measure-"))
    try:
        layout = Layout(folder / "root")
        if not layout.database.exists():
            _make(layout, asked.images)
        sys.stdout.write(json.dumps(_measure(layout, folder), indent=2) + "\n")
    finally:
        if asked.root is None:
            shutil.rmtree(folder, ignore_errors=True)


def _make(layout: Layout, images: int) -> None:
    make_root(layout.root, "tiny")
    layout.make()
    Ledger.open(layout.database).close()
    draw = np.random.default_rng(0)
    for number in range(_CONTENTS):
        blocks = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        picture.save(layout.root / f"keep/{number:03}.jpg", quality=90)
    scores = np.clip(draw.normal(6.2, 1.1, images), 1, 10)
    with sqlite3.connect(layout.database) as connection:
        connection.executemany(
            "INSERT INTO images (path, sha256, role, verdict, verdict_by, score, scorer, width, height, prompt, seed,"
            " model, source_file, created_at)"
            " VALUES (?, ?, 'generated', ?, 'gate', ?, 'technical', ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    f"keep/{number % _CONTENTS:03}.jpg", f"{number % _CONTENTS:064x}",
                    "keep" if scores[number] >= 6.5 else "reject", float(scores[number]), _SIDE, _SIDE,
                    f"a picture of number {number % 997} in the style of {number % 31}, with some more words", number,
                    "shapes", f"inbox/generate/{number // 100}.txt", 1.7e9 + number,
                )
                for number in range(images)
            ),
        )  # fmt: skip


def _measure(layout: Layout, folder: Path) -> dict[str, Any]:
    from tests.support.browser import browser

    command = [sys.executable, "-m", "hotfolder", "gallery", "--root", str(layout.root), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        started, answers = _cpu(server.pid), {}
        for path in ("api/columns", "api/order?sort=best", "api/order?words=number+12"):
            began = time.perf_counter()
            with urllib.request.urlopen(address + path, timeout=60) as answer:
                size = len(answer.read())
            answers[path] = {"seconds": round(time.perf_counter() - began, 3), "bytes": size}
        found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "answers": answers}
        found["server_cpu_seconds_of_answers"] = round(_cpu(server.pid) - started, 3)
        with browser(folder / "profile") as page:
            page.tell("Network.setCacheDisabled", cacheDisabled=False)
            page.open(address)  # the pictures of the first screen are made
            time.sleep(5)
            page.open(address)
            page.until(
                "[...document.querySelectorAll('.cell img')].slice(0, 20).every((i) => i.complete && i.src)",
                "pictures",
            )
            found["first_grid_seconds"] = page.run(_FIRST) / 1000
            found["cells"] = page.run("document.querySelectorAll('.cell').length")
            found["scrolling"] = page.driver.execute_async_script(_SCROLL)
            found["cells_afterwards"] = page.run("document.querySelectorAll('.cell').length")
            page.run("void (gallery.grid.setFocus(gallery.grid.order[5]), gallery.loupe.open(gallery.grid.focus))")
            time.sleep(4)  # previews of the next ones are fetched ahead
            found["key_to_next_ms"] = page.driver.execute_async_script(_NEXT)
        found["server_memory_mb"] = _memory(server.pid)
        return found
    finally:
        server.terminate()
        server.wait(20)


def _cpu(pid: int) -> float:
    """Seconds of processor that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {
        name: round(int(values[key].split()[0]) / 1024, 1) for name, key in (("now", "VmRSS"), ("most", "VmHWM"))
    }


#: When the first cells were drawn, in ms after the page was asked for.
_FIRST = "performance.getEntriesByName('first-grid')[0].startTime"
#: From end to end in some seconds; the longest time between two frames, and places on the way without a cell.
_SCROLL = """
const done = arguments[arguments.length - 1], box = document.getElementById('grid');
const last = box.scrollHeight - box.clientHeight;
let before = performance.now(), longest = 0, frames = 0, empty = 0, at = 0;
const long = [];
function frame(now) {
  const gap = now - before;
  before = now;
  if (frames > 0) { longest = Math.max(longest, gap); if (gap > 100) long.push(Math.round(gap)); }
  frames += 1;
  const seen = document.elementFromPoint(200, 400);
  if (!seen || !seen.closest('.cell')) empty += 1;
  if (at >= last) {
    done({frames, longest_gap_ms: Math.round(longest), gaps_over_100_ms: long, frames_without_cells: empty});
    return;
  }
  at = Math.min(last, at + last / 300);
  box.scrollTop = at;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
"""
#: From the key to the frame after the next picture is there, some times.
_NEXT = """
const done = arguments[arguments.length - 1], found = [];
async function once() {
  const began = performance.now();
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
  const picture = document.querySelector('.pane .large');
  await picture.decode().catch(() => {});
  await new Promise((next) => requestAnimationFrame(next));
  found.push(Math.round(performance.now() - began));
}
(async () => {
  for (let n = 0; n < 12; n += 1) { await once(); await new Promise((next) => setTimeout(next, 1500)); }
  found.sort((a, b) => a - b);
  done({median: found[6], worst: found[11]});
})();
"""

if __name__ == "__main__":
    main()
