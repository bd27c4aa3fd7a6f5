"""The models that are needed, and what is known of their speed."""

from __future__ import annotations

from collections.abc import Iterator

from hotfolder.cli.doctor.check import Check
from hotfolder.cli.models import how_to_mend
from hotfolder.config.settings import Settings
from hotfolder.core import channels_last
from hotfolder.errors import HotfolderError
from hotfolder.files.remembered import Remembered
from hotfolder.models.fingerprint import fingerprint
from hotfolder.types import Kind


def examine(settings: Settings) -> Iterator[Check]:
    """Every model that the settings name: whether it is there, and whole."""
    catalogue = settings.catalogue()
    for kind, name in settings.models_needed():
        entry = catalogue.entry(name)
        try:
            catalogue.resolve(name, kind)
            parts = [part for part in catalogue.needs(name) if part.name != entry.twin] if entry else []
            found = [(part, file) for part in parts for file in catalogue.find(part)]
            wrong = [(part, file.path) for part, file in found if file.is_damaged()]
        except HotfolderError as error:
            yield Check("model", "fail", error.message, error.fix)
        except OSError as error:
            yield Check("model", "fail", f"'{name}' cannot be read: {error}", "let this user read it")
        else:
            if wrong:
                part, path = wrong[0]
                yield Check("model", "fail", f"{path} is damaged", how_to_mend(part))
            else:
                pinned = found and all(file.sha256 for _, file in found)
                known = "sha256 verified" if pinned else "no sha256 to compare"
                yield Check("model", "ok", f"{name} ({kind}), {known}")


def orders(settings: Settings) -> Iterator[Check]:
    """What was found out of how the generator is fastest here."""
    file = Remembered(channels_last.FILE)
    entries, name = file.read(), settings.generate.model
    if not entries or settings.generate.channels_last != "auto":
        return
    try:
        own = fingerprint(settings.catalogue().resolve(name, Kind.GENERATE))
    except (HotfolderError, OSError):
        return  # the check of models says so
    for key, entry in entries.items():
        device, model, how = channels_last.read_key(key)
        if model == own and (words := channels_last.told(entry)):
            yield Check("speed", "ok", f"{name} on {device}, {how}: {words}; deleting {file.path} forgets it")
