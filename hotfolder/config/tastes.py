"""Whose taste is learnt: what the settings say of an inbox."""

from __future__ import annotations

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.errors import UsageError
from hotfolder.models.registry import HEADS_READ
from hotfolder.taste.subject import Subject


def subject(settings: FolderSettings, inbox: str) -> Subject:
    """Raises UsageError for an inbox that there is none of."""
    if inbox not in settings.of_root.inboxes:
        known = ", ".join(settings.of_root.inboxes)
        raise UsageError(f"there is no inbox '{inbox}'", f"there are: {known}")
    own = settings.of(f"inbox/{inbox}/any")
    entry = own.catalogue().entry(own.prior)
    encoder = (entry.encoder or own.prior) if entry is not None else HEADS_READ
    return Subject(inbox, own.prior, encoder, own.gate.keep)
