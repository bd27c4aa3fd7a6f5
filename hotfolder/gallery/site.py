"""What all routes share: the root, its settings, who may ask, and what is under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from hotfolder.config.settings import Settings
from hotfolder.folders.layout import Layout
from hotfolder.gallery.access import Access, Refused
from hotfolder.gallery.asking import Asking
from hotfolder.gallery.events import Events
from hotfolder.gallery.likeness import Likeness
from hotfolder.gallery.thumbnails import Thumbnails
from hotfolder.ledger.shown import Shown

#: Numbers of images and jobs are SQLite's.
MOST_ID = 2**63 - 1
#: Images, or files, of which something is told at a time.
_MOST_TOLD = 500


@dataclass(frozen=True, slots=True)
class Site:
    """One root in a browser."""

    layout: Layout
    settings: Settings
    access: Access
    thumbnails: Thumbnails
    asking: Asking
    events: Events
    likeness: Likeness

    def reading(self) -> Shown:
        """A connection of its own, for one answer. Raises LedgerError."""
        return Shown(self.layout.database)

    def row(self, image_id: int) -> dict[str, Any]:
        """The row of an image that is there. Raises Refused, LedgerError."""
        if image_id > MOST_ID:
            raise not_found()
        with self.reading() as reader:
            row = reader.image_row(image_id)
        if row is None or row["gone_at"] is not None:
            raise not_found()
        return row


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def integer(text: str) -> int:
    """A number that SQLite has, too. Raises ValueError."""
    value = int(text)
    if abs(value) > MOST_ID:
        raise ValueError
    return value


def ids_of(request: Request) -> list[int]:
    """The numbers in `ids` of the address, with commas between; not too many. Raises Refused."""
    try:
        return [integer(text) for text in request.query_params.get("ids", "").split(",")[:_MOST_TOLD]]
    except ValueError:
        raise Refused(400, "bad_request", "ids are numbers with commas between") from None


def no_page(fix: str = "") -> Refused:
    return Refused(404, "not_found", "there is no such page", fix)


def not_found() -> Refused:
    return Refused(404, "not_found", "there is no such image", "it may have been moved or deleted just now")
