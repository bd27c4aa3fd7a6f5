"""Stars in a file beside a picture: what another program wrote there stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from hotfolder.files.beneath import Beneath
from hotfolder.imaging import xmp

MOST_BYTES = 4 * 2**20


def sidecar_names(path: str) -> tuple[str, str]:
    """As digiKam and darktable name it (`a.png.xmp`), and as Lightroom does (`a.xmp`)."""
    return f"{path}.xmp", str(PurePosixPath(path).with_suffix(".xmp"))


def packet_at(beneath: Beneath, path: str) -> bytes | None:
    """What a sidecar holds, up to one byte more than is read of any. Raises OSError."""
    try:
        with beneath.open(path) as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None


def is_our_sidecar(beneath: Beneath, path: str) -> bool:
    """Whether a file is one that we wrote beside an image, and nobody else since. Raises OSError."""
    packet = packet_at(beneath, path) if path.endswith(".xmp") else None
    return packet is not None and xmp.is_ours(packet)


def packets_of(beneath: Beneath, names: Sequence[str]) -> dict[str, bytes]:
    """What those of these sidecars hold that are there. Raises OSError."""
    return {name: packet for name in names if (packet := packet_at(beneath, name)) is not None}


def others_of(found: Mapping[str, bytes]) -> list[str]:
    """Those that another program wrote."""
    return [name for name, packet in found.items() if not xmp.is_ours(packet)]


def rated(found: Mapping[str, bytes], ours: Sequence[str], stars: int) -> dict[str, str]:
    """The sidecars to write, by name, each with what it is to hold: none where the stars are there already.

    Another program's, of those that were `found`, gets the stars; where there is none, `ours` do: a program reads one
    of them. Raises ValueError for one that is not understood.
    """
    made = {name: xmp.rated(found.get(name), stars, MOST_BYTES) for name in others_of(found) or ours}
    return {name: packet.decode() for name, packet in made.items() if packet != found.get(name)}


def rating_in(packet: bytes) -> int | None:
    """The stars of a sidecar, -1 to 5; None where it has none, or is not understood."""
    try:
        stars = xmp.rating_of(packet) if len(packet) <= MOST_BYTES else None
    except ValueError:
        return None
    return stars if stars is not None and -1 <= stars <= 5 else None


def given_in(found: Mapping[str, bytes], stars: int) -> int | None:
    """The stars, but none of 0, that a person gave in another program's sidecar; None where there are none.

    As many as `stars` may be those that we wrote there. Raises ValueError for a sidecar that is not understood.
    """
    given = [rating for name in others_of(found) if (rating := xmp.rating_of(found[name]))]
    return given[0] if given and given != [stars] * len(given) else None


def rating_of_any(found: Mapping[str, bytes]) -> int | None:
    """The stars that the sidecars of a picture have; another program's come first."""
    others = others_of(found)
    ratings = [rating_in(found[name]) for name in sorted(found, key=lambda name: name not in others)]
    return next((rating for rating in ratings if rating is not None), None)
