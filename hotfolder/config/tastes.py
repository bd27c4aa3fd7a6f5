"""Whose taste is learnt: what the settings say of an inbox."""

from __future__ import annotations

from pathlib import Path

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.errors import UsageError
from hotfolder.models.heads import encoder_for
from hotfolder.taste.subject import Subject


def prior_of(settings: FolderSettings, inbox: str) -> str:
    """The scorer beside which taste is learnt. Raises UsageError for an inbox that there is none of."""
    if inbox not in settings.of_root.inboxes:
        known = ", ".join(settings.of_root.inboxes)
        raise UsageError(f"there is no inbox '{inbox}'", f"there are: {known}")
    return settings.of(f"inbox/{inbox}/any").prior


def subject(settings: FolderSettings, inbox: str) -> Subject:
    """Raises UsageError for an inbox that there is none of, and for a scorer that taste cannot be learnt beside."""
    prior = prior_of(settings, inbox)
    own = settings.of(f"inbox/{inbox}/any")
    entry = own.catalogue().entry(prior)
    if entry is not None and entry.needs_prompt:
        raise UsageError(
            f"taste cannot be learnt beside '{prior}', which judges a picture by its prompt",
            f"name another scorer first in gate.score of inbox/{inbox}",
        )
    if entry is not None and entry.keeps_only_its_score:
        raise UsageError(
            f"taste cannot be learnt beside '{prior}': what it keeps of a picture is its rating, and nothing of what "
            "is shown",
            f"name another scorer first in gate.score of inbox/{inbox}",
        )
    encoder = (entry.encoder or prior) if entry is not None else encoder_for(Path(prior).expanduser())
    return Subject(inbox, prior, encoder, own.gate.keep)


def misfit(wanted: Subject, head: str, prior: str, encoder: str, stored: str | None) -> str | None:
    """Why a head, learnt beside `prior` from embeddings by `encoder`, cannot judge an inbox any more; None: it can.

    `stored`: the embeddings that the newest image of the inbox has.
    """
    if prior != wanted.prior:
        return f"'{head}' was learnt beside {prior}, and inbox/{wanted.inbox} is judged by {wanted.prior}"
    if not encoder.startswith(f"{wanted.encoder}/") or stored not in (None, encoder):
        seen = stored or wanted.encoder
        return f"'{head}' was learnt from what {encoder} sees, and inbox/{wanted.inbox} is seen by {seen}"
    return None
