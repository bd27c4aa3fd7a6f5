"""Stars in XMP, as a parser of XML finds them."""

from __future__ import annotations

from xml.etree import ElementTree

RATING = "{http://ns.adobe.com/xap/1.0/}Rating"


def ratings_in(packet: bytes) -> list[str | None]:
    """Every value of the property, as a parser of XML finds them. Raises where it is no XML."""
    tree = ElementTree.fromstring(packet)
    attributes = [each.attrib[RATING] for each in tree.iter() if RATING in each.attrib]
    return [*attributes, *(each.text for each in tree.iter(RATING))]


def stars_in(packet: bytes) -> int | None:
    """The property, if it has a value; None also for what is no XML."""
    try:
        found = [value for value in ratings_in(packet) if value]
    except ElementTree.ParseError:
        return None
    assert len(found) < 2
    return int(found[0]) if found else None
