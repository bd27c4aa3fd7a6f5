"""Which folder says what of an image, and which folder an image lies in by what was said of it."""

from __future__ import annotations

from hotfolder.types import Role, Verdict

_KEEP, _REJECT, _UPSCALED = "keep", "reject", "upscaled"
#: Folders of what can be kept or rejected; the archive has the originals of enlarged images.
_JUDGED = (_KEEP, _REJECT, _UPSCALED, "archive")


def place_of(path: str, role: Role, verdict: Verdict) -> str:
    """Where an image lies with this verdict; its sub-folder and name stay.

    Enlarged ones that are kept lie in upscaled/, or stay in keep/.
    """
    top, _, below = path.partition("/")
    if verdict is Verdict.REJECT:
        return f"{_REJECT}/{below}"
    kept = (_KEEP, _UPSCALED) if role is Role.UPSCALED else (_KEEP,)
    return path if top in kept else f"{kept[-1]}/{below}"


def verdict_by_place(before: str, now: str) -> Verdict | None:
    """What a person says who moves an image from one place to another; None where that says nothing.

    To keep/ or to reject/, from any other of the folders; and from reject/ to upscaled/.
    """
    old, new = (path.partition("/")[0] for path in (before, now))
    if old == new:
        return None
    if new == _KEEP or (new == _UPSCALED and old == _REJECT):
        return Verdict.KEEP
    return Verdict.REJECT if new == _REJECT else None


def why_not_judged(path: str, *, is_gone: bool) -> str | None:
    """Why a person cannot keep or reject an image; None where that can be."""
    top = path.partition("/")[0]
    if is_gone:
        return "its file is gone: deleted, changed, or taken out of the root"
    if top in _JUDGED:
        return None
    if top == "failed":
        return "it has failed; see: hotfolder why FILE"
    if top == "inbox":
        return "it was put back into its inbox; see: hotfolder undo"
    return "it waits for its score"
