"""XMP packets: what a generated image says of its making, and how many stars it has.

Names are those of the XMP specification (ISO 16684-1) and of IPTC's photo metadata standard.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, unescape

from hotfolder import __version__

#: A picture made by a trained model, from nothing but words or another picture (IPTC's NewsCodes).
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS = "urn:hotfolder:xmp:1.0/"
_QUOTES = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_RATING = re.compile(rb"""(\bxmp:Rating\s*=\s*["'])[^"']*(["'])|(<xmp:Rating\b[^<>]*>)[^<]*(</xmp:Rating>)""")
_DESCRIPTION = re.compile(rb"<rdf:Description\b")
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


def generation_of(packet: bytes) -> str | None:
    """Our JSON, where a packet has it."""
    found = re.search(rb'\bhotfolder:Generation="([^"]*)"', packet)
    if not found:
        return None
    back = {quoted: plain for plain, quoted in _QUOTES.items()}
    return unescape(found[1].decode("utf-8", "replace"), back)


def rated(packet: bytes | None, rating: int) -> bytes:
    """The packet with this xmp:Rating (0 to 5 stars, -1 rejected), all else as it was.

    Raises ValueError for a packet that has no place for it.
    """
    if not packet:
        return _packet(f'xmp:Rating="{rating}"')
    if len(packet) > _MOST:
        raise ValueError(f"its XMP is larger than {_MOST >> 10} KiB")
    number = b"%d" % rating
    if _RATING.search(packet):
        return _RATING.sub(lambda m: (m[1] or m[3]) + number + (m[2] or m[4]), packet)
    space = b"" if b"xmlns:xmp=" in packet else f' xmlns:xmp="{_XMP}"'.encode()
    changed, count = _DESCRIPTION.subn(lambda m: m[0] + space + b' xmp:Rating="' + number + b'"', packet, count=1)
    if not count:
        raise ValueError("its XMP has no description")
    return changed


def rating_of(packet: bytes) -> int | None:
    """The xmp:Rating of a packet, if it has a whole number there."""
    found = re.search(rb"""\bxmp:Rating(?:\s*=\s*["']|\b[^<>]*>)\s*(-?\d)""", packet)
    return int(found[1]) if found else None


def is_ours(packet: bytes) -> bool:
    """Whether a sidecar was written by this program, and so may be overwritten."""
    return _MARK_BEGINS in packet


def _packet(attributes: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" {_OUR_MARK}>\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f'  <rdf:Description rdf:about="" xmlns:xmp="{_XMP}" {attributes}/>\n'
        " </rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    ).encode()


def _quoted(text: str) -> str:
    """For an attribute; characters that no XML may hold are left out."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text), _QUOTES)
