"""Secrets in text: passwords and tokens, and the addresses that hold them, made safe to show."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import SplitResult, unquote, urlsplit

#: What is shown in the place of a secret.
HIDDEN = "***"
#: What is shorter would hide half of every line.
_LEAST_PASSWORD, _LEAST_TOKEN = 4, 8
_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://([^\s\"'<>\\]+)")
#: Where host and path are no secret: only who asks, and what is asked for.
_OPEN_SCHEMES = {"http", "https", "ftp", "ftps", "file"}
#: In which a host is one, and not the token of a service.
_WITH_HOST = {*_OPEN_SCHEMES, "json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"}
_QUERY = re.compile(r"([?&;][^=&;#\s]+=)[^&;#\s]*")
_HEADERS = re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9+/=_.~-]{8,}")
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
_SECRET_VARIABLE = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY)$")
#: Secrets that this process knows, and what is shown in their place.
_known: dict[str, str] = {}
_pattern: re.Pattern[str] | None = None


def masked(text: str) -> str:
    """The text without the secrets that are known, and without what looks like one in any address."""
    if _pattern is not None:
        text = _pattern.sub(lambda found: _known[found[0]], text)
    if "://" in text:
        text = _ADDRESS.sub(_mask_address, text)
    return _HUB_TOKEN.sub(HIDDEN, _HEADERS.sub(rf"\1\2{HIDDEN}", text))


def learn_addresses(urls: Iterable[str]) -> None:
    """From now on, these addresses of services are masked wherever they stand, and so is each token in them."""
    for url in urls:
        scheme, there, _ = url.partition("://")
        _learn([url], f"{scheme}://{HIDDEN}" if there else HIDDEN)
        _learn([*_credentials(url), *_tokens(url)])
    _compile()


def learn_credentials(urls: Iterable[str]) -> None:
    """The same for addresses that may be shown, but for passwords and what is asked for in them."""
    for url in urls:
        _learn(_credentials(url))
    _compile()


def learn_environment(environ: Mapping[str, str]) -> None:
    """The same for variables whose names say that they hold a secret: HF_TOKEN, …_PASSWORD, …"""
    for name, value in environ.items():
        if _SECRET_VARIABLE.search(name.upper()) and len(value.strip()) >= _LEAST_TOKEN:
            _learn([value.strip()])
    _compile()


def _learn(secrets: Iterable[str], shown: str = HIDDEN) -> None:
    for secret in secrets:
        _known.setdefault(secret, shown)
        _known.setdefault(unquote(secret), shown)


def _compile() -> None:
    global _pattern
    longest_first = sorted(_known, key=len, reverse=True)
    # A secret is not a part of another word: a password 'cats' leaves 'scatter' alone.
    each = "|".join(rf"(?<!\w){re.escape(secret)}(?!\w)" for secret in longest_first)
    _pattern = re.compile(each) if each else None


def _mask_address(found: re.Match[str]) -> str:
    scheme, rest = found[1], found[2]
    if scheme.lower() not in _OPEN_SCHEMES:
        return f"{scheme}://{HIDDEN}"
    place, slash, path = rest.partition("/")
    if "@" in place:
        place = f"{HIDDEN}@{place.rpartition('@')[2]}"
    return f"{scheme}://" + _QUERY.sub(rf"\1{HIDDEN}", f"{place}{slash}{path}")


def _credentials(url: str) -> Iterator[str]:
    split = _split(url)
    password = split.netloc.rpartition("@")[0].partition(":")[2]
    values = [pair.partition("=")[2] for pair in re.split("[&;]", split.query)]
    yield from (part for part in (password, *values) if len(part) >= _LEAST_PASSWORD)


def _tokens(url: str) -> Iterator[str]:
    """Its pieces that may stand alone in a message, and its path."""
    split = _split(url)
    user, _, host = split.netloc.rpartition("@")
    pieces = [user.partition(":")[0], *split.path.split("/"), split.fragment]
    if not _is_host(split.scheme, host):
        pieces += [host, *host.split(":")]
    yield from (piece for piece in pieces if _is_token(piece))
    if len(split.path) > _LEAST_PASSWORD:
        yield split.path


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # it is none
        return urlsplit("")


def _is_host(scheme: str, place: str) -> bool:
    host = re.sub(r":\d+$", "", place).strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or scheme in _WITH_HOST
    return True


def _is_token(piece: str) -> bool:
    """A plain word may be a topic or a channel, and also stand in any message."""
    return len(piece) >= _LEAST_TOKEN and not (piece.isalpha() and piece.islower())


learn_environment(os.environ)
