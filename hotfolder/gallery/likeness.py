"""Images that are like one, or show what words say: asked of `hotfolder search`, in a process of its own.

What that process loads goes with it: the server stays small, and a model or a device that fails harms nothing here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import Sequence

from hotfolder.folders.layout import Layout
from hotfolder.gallery.access import Refused

#: Images that are found, at most.
MOST = 500
#: Seconds that a search may take (a model may have to be loaded), and that its answer is remembered; how many are.
_PATIENCE, _REMEMBERED, _MOST_ANSWERS = 180.0, 60.0, 20
#: Folders of an absolute path, but not of an address.
_FOLDERS = re.compile(r"(?<![\w/:.~-])/(?:[^\s/'\",:;]+/)*(?=[^\s/])")


class Likeness:
    """One search at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._turn = asyncio.Lock()
        self._answers: dict[tuple[str, ...], tuple[float, list[int]]] = {}

    async def like(self, image_id: int) -> list[int]:
        """The image itself, and then those that are like it, the nearest first. Raises Refused."""
        return [image_id, *await self._found(("--like", str(image_id)))]

    async def showing(self, words: str) -> list[int]:
        """Images by how likely they show it, whatever they are called. Raises Refused."""
        if "\0" in words:
            raise Refused(400, "bad_request", "shows is not understood")
        return await self._found(("--by", "picture", "--", words))

    async def _found(self, asked: tuple[str, ...]) -> list[int]:
        async with self._turn:
            known = self._answers.get(asked)
            if known is None or time.monotonic() - known[0] > _REMEMBERED:
                self._answers.pop(asked, None)
                self._answers[asked] = known = (time.monotonic(), await self._searched(asked))
                while len(self._answers) > _MOST_ANSWERS:
                    del self._answers[next(iter(self._answers))]
            return known[1]

    async def _searched(self, asked: Sequence[str]) -> list[int]:
        command = ("-m", "hotfolder", "search", "--root", str(self._layout.root), "--json", "--limit", str(MOST))
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", *command, *asked, stdin=nothing, stdout=pipe, stderr=nothing
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
            document = json.loads(output)
        except TimeoutError:
            raise Refused(504, "too_slow", "the search did not come to its end", "try: hotfolder search") from None
        except ValueError:
            raise Refused(500, "not_searched", "the search failed", "see what says: hotfolder search") from None
        finally:
            if process.returncode is None:  # too slow, or nobody waits for it any more
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if "error" in document:
            error = document["error"]
            message, fix = (self._without_folders(str(error[key])) for key in ("message", "fix"))
            raise Refused(422, str(error["kind"]), message, fix)
        return [row["image_id"] for row in document["found"]]

    def _without_folders(self, text: str) -> str:
        """Whoever may look at the page need not know where things lie on this machine."""
        return _FOLDERS.sub("", text.replace(f"{self._layout.root}/", ""))
