"""What nodes that were cut off put into staging."""

from __future__ import annotations

from hotfolder.daemon.old_claims import clear_old_claims
from hotfolder.folders.layout import Layout
from hotfolder.types import Job, Kind, State
from tests.support.roots import files_in


def test_only_what_is_of_an_older_claim_is_removed(layout: Layout) -> None:
    known = {
        id_: (Job(id_, Kind.GENERATE, 1, "p.txt", None, "m", 1, claim, 0.0), state)
        for id_, claim, state in (
            (1, 3, State.DONE),
            (2, 2, State.RUNNING),
            (3, 1, State.DONE),
            (4, 2, State.DONE),
        )
    }
    for made in ("1/1", "1/2", "2/1", "2/2", "3/1", "4/1", "9/1", "rating-7"):
        (layout.staging / made).mkdir(parents=True)
        (layout.staging / made / "output.png").write_bytes(b"x")
    (layout.staging / "4" / "2").mkdir()
    (layout.staging / "4" / "2" / "output.png").write_bytes(b"waits for its place")
    clear_old_claims(layout, known.get)
    assert files_in(layout, ".hotfolder/staging") == [
        f".hotfolder/staging/{made}/output.png" for made in ("2/2", "3/1", "4/2", "9/1", "rating-7")
    ]
    assert not (layout.staging / "1").exists()
    clear_old_claims(Layout(layout.root / "gone"), known.get)
