"""XMP packets: what a generated image says of its making, and how many stars it has.

Names are those of the XMP specification (ISO 16684-1) and of IPTC's photo metadata standard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, unescape

from hotfolder import __version__

#: A picture made by a trained model, from nothing but words or another picture (IPTC's NewsCodes).
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_DC = "http://purl.org/dc/elements/1.1/"
_DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
_RATING = f"{{{_XMP}}}Rating"
_OURS = "urn:hotfolder:xmp:1.0/"
_QUOTES = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_BACK = {quoted: plain for plain, quoted in _QUOTES.items()}
#: The first text of an exif:UserComment, whichever prefix EXIF's names have.
_COMMENT = re.compile(rb"<[\w-]+:UserComment\b[^>]*>(?:\s*<rdf:Alt\b[^>]*>\s*<rdf:li\b[^>]*>)?([^<]*)<")
#: An attribute of a start tag: its name, and its value with the quotation marks.
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"']+)\s*=\s*("[^"]*"|'[^']*')""")
#: Bytes of a packet that is touched: more than ours ever has.
_MOST = 2**18
#: Who wrote a sidecar: only such are overwritten.
_OUR_MARK = f'x:xmptk="hotfolder {__version__}"'
_MARK_BEGINS = b'x:xmptk="hotfolder '


def generated(settings: str) -> bytes:
    """The packet of a generated image; `settings` is our JSON."""
    return _packet(
        f'xmlns:Iptc4xmpExt="{_IPTC}" xmlns:hotfolder="{_OURS}" xmp:CreatorTool="hotfolder {__version__}" '
        f'Iptc4xmpExt:DigitalSourceType="{GENERATED}" hotfolder:Generation="{_quoted(settings)}"'
    )


def captioned(title: str, caption: str, keywords: Sequence[str], creator: str, rights: str) -> bytes:
    """The packet of a picture that has nothing but an older caption (Metadata Working Group, guidelines 2.0)."""

    def listed(name: str, kind: str, texts: Sequence[str]) -> str:
        language = ' xml:lang="x-default"' if kind == "Alt" else ""
        items = "".join(f"<rdf:li{language}>{_quoted(text)}</rdf:li>" for text in texts if text)
        return f"   <dc:{name}><rdf:{kind}>{items}</rdf:{kind}></dc:{name}>\n" if items else ""

    inside = (
        listed("title", "Alt", [title]) + listed("description", "Alt", [caption]) + listed("subject", "Bag", keywords)
        + listed("creator", "Seq", [creator]) + listed("rights", "Alt", [rights])
    )  # fmt: skip
    return _packet(f'xmlns:dc="{_DC}"', inside)


def generation_of(packet: bytes) -> str | None:
    """Our JSON, where a packet has it."""
    found = re.search(rb'\bhotfolder:Generation="([^"]*)"', packet)
    if not found:
        return None
    return unescape(found[1].decode("utf-8", "replace"), _BACK)


def comment_of(packet: bytes) -> str | None:
    """EXIF's UserComment, where a packet has it, as an element: Draw Things writes JSON there."""
    found = _COMMENT.search(packet)
    return unescape(found[1].decode("utf-8", "replace"), _BACK).strip() if found else None


def rated(packet: bytes | None, rating: int, most: int = _MOST) -> bytes:
    """The packet with this xmp:Rating (0 to 5 stars, -1 rejected), all else as it was, byte for byte.

    Raises ValueError for a packet that has no place for it, or of more than `most` bytes.
    """
    if not packet:
        return _packet(f'xmp:Rating="{rating}"')
    if len(packet) > most:
        raise ValueError("its XMP is too large")
    number, found = b"%d" % rating, _find(packet)
    if found.rating is not None:
        (start, end), name = found.rating, found.name
        return packet[:start] + (b"<%b>%b</%b>" % (name, number, name) if name else number) + packet[end:]
    at, prefix = found.description, "xmp" if found.scope.get("xmp", _XMP) == _XMP else "hotfolderxmp"
    space = "" if found.scope.get(prefix) == _XMP else f' xmlns:{prefix}="{_XMP}"'
    return packet[:at] + f'{space} {prefix}:Rating="{rating}"'.encode() + packet[at:]


def rating_of(packet: bytes | None) -> int | None:
    """The xmp:Rating of a packet, whole stars; None where it has none, or no number. Raises ValueError as `rated`."""
    found = _find(packet) if packet else _Found()
    if packet is None or found.rating is None:
        return None
    value = packet[slice(*found.rating)]
    if found.name:  # the whole element
        value = value.partition(b">")[2].rpartition(b"</")[0]
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None


@dataclass(slots=True)
class _Found:
    """Where things stand in a packet, in bytes."""

    description: int = -1  # behind the name of the first rdf:Description
    scope: Mapping[str, str] = field(default_factory=dict)  # the prefixes that hold there
    rating: tuple[int, int] | None = None  # the value of the attribute, or the whole element
    name: bytes = b""  # of the element, as it is written


def _find(packet: bytes) -> _Found:
    """Raises ValueError for what is no XMP, or too much of it."""
    if b"\0" in packet or b"<!DOCTYPE" in packet:
        raise ValueError("its XMP is not as usual")
    found = _Found()
    scopes: list[dict[str, str]] = [{}]
    elements: list[str] = []  # '{namespace}name' of each that is open
    begun = -1  # where the element xmp:Rating begins
    parser = ParserCreate()
    parser.ordered_attributes = True

    def full(name: str) -> str:
        prefix, colon, local = name.rpartition(":")
        return f"{{{scopes[-1].get(prefix, '')}}}{local}" if colon else name

    def start(name: str, attributes: list[str]) -> None:
        nonlocal begun
        given = dict(zip(attributes[::2], attributes[1::2], strict=True))
        scopes.append({**scopes[-1], **{key[6:]: uri for key, uri in given.items() if key.startswith("xmlns:")}})
        elements.append(full(name))
        at = parser.CurrentByteIndex
        if elements[-1] == _DESCRIPTION:
            if found.description < 0:
                found.description, found.scope = at + 1 + len(name.encode()), dict(scopes[-1])
            rating = next((key for key in given if full(key) == _RATING), None)
            if rating is not None and found.rating is None:
                found.rating = _value_of(packet, at + 1 + len(name.encode()), rating.encode())
        elif elements[-1] == _RATING and elements[-2:-1] == [_DESCRIPTION] and found.rating is None:
            begun, found.name = at, name.encode()

    def end(name: str) -> None:
        nonlocal begun
        if elements.pop() == _RATING and begun >= 0:
            behind = packet.index(b">", begun) + 1
            if packet[behind - 2 : behind] != b"/>":
                behind = packet.index(b">", parser.CurrentByteIndex) + 1
            found.rating, begun = (begun, behind), -1
        scopes.pop()

    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(packet, True)
    except ExpatError as error:
        raise ValueError(f"its XMP cannot be read: {error}") from None
    if found.description < 0:
        raise ValueError("its XMP has no description")
    return found


def _value_of(packet: bytes, at: int, name: bytes) -> tuple[int, int]:
    """Where the value of this attribute stands, without its quotation marks; `at` is behind the tag's name."""
    while (match := _ATTRIBUTE.match(packet, at)) is not None:
        if match[1] == name:
            return match.start(2) + 1, match.end(2) - 1
        at = match.end()
    raise ValueError("its XMP is not as usual")


def is_ours(packet: bytes) -> bool:
    """Whether a sidecar was written by this program, and so may be overwritten."""
    return _MARK_BEGINS in packet


def _packet(attributes: str, inside: str = "") -> bytes:
    end = f">\n{inside}  </rdf:Description>" if inside else "/>"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" {_OUR_MARK}>\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f'  <rdf:Description rdf:about="" xmlns:xmp="{_XMP}" {attributes}{end}\n'
        " </rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    ).encode()


def _quoted(text: str) -> str:
    """For an attribute; characters that no XML may hold are left out."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text), _QUOTES)
