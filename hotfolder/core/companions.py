"""Files that belong to a picture and go where it goes: sidecars, captions, the film of a Live Photo, the RAW half."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable
from pathlib import PurePosixPath

from hotfolder.core.pictures import PLAIN, RAW, ending_of

#: Endings of files that belong to the picture with the same stem: `a.xmp` to `a.png`. Any file that begins with the
#: whole name, such as `a.png.xmp`, belongs to it anyway.
BY_STEM = frozenset((
    ".xmp", ".json", ".txt", ".caption", ".tags", ".aae", ".mov", ".mp4", ".thm", ".wav", ".pp3", ".arp", ".dop",
    ".cos", ".vrd", ".dr4", ".acr", ".nksc", ".on1", ".photo-edit", ".exif", ".iptc",
))  # fmt: skip
#: Our own: what is beside it has failed by itself.
_REPORT = ".error.json"
#: `IMG_1.jpg(2).json` and `IMG_1.jpg.supplemental-metadata(2).json` are of `IMG_1(2).jpg` (Google's Takeout).
_TAKEOUT = re.compile(r"^(?P<name>.+\.[^.()]+)\((?P<number>\d+)\)\.json$", re.DOTALL)
#: The same cuts the name of the picture down to so many characters before `.json`.
_CUT = 46
#: `a_01.nef.xmp` is of `a.nef`: a second version of it (darktable).
_VERSION = re.compile(r"^(?P<stem>.+)_\d\d(?P<ending>\.[^.]+)\.xmp$", re.DOTALL)


def may_be_one(name: str) -> bool:
    """Whether a file of this name may belong to a picture; for others nothing has to be looked up."""
    return ending_of(name) not in PLAIN and not name.endswith(_REPORT)


def pairs(names: Iterable[str]) -> dict[str, str]:
    """The companions among the files of one folder, and the picture of each."""
    pictures, others, reported = [], [], set()
    for name in names:
        if may_be_one(name):
            others.append(name)
        elif name.endswith(_REPORT):
            reported.add(name.removesuffix(_REPORT))
        else:
            pictures.append(name)
    if not others:
        return {}
    known = _Pictures(sorted(pictures))
    found: dict[str, str] = {}
    others = sorted(name for name in others if name not in reported)
    for name in others:
        if ending_of(name) in RAW:
            half = known.by_stem(name)
            if half is not None:
                found[name] = half
            known.add(name)
    for name in others:
        if ending_of(name) not in RAW:
            of = known.picture_of(name)
            if of is not None:
                found[name] = found.get(of, of)  # of the RAW half: the other half's
    return found


def belongs_to(name: str, picture: str) -> bool:
    """Whether the one file is a companion of the other."""
    return pairs((name, picture)).get(name) == picture


def left_behind(moved: Iterable[str], there: Collection[str], known: Container[str]) -> dict[str, list[str]]:
    """What belongs to pictures that are not there any more, and still is: paths, by those that the pictures had.

    What may as well be of a picture that is there is not among it; nor is what is `known` as a picture of its own.
    """
    gone: dict[str, set[str]] = {}
    for path in moved:
        folder, _, name = path.rpartition("/")
        gone.setdefault(folder, set()).add(name)
    keys = {(folder, _key(name)) for folder, names in gone.items() for name in names}
    names: dict[str, list[str]] = {folder: [] for folder in gone}
    for path in there if gone else ():
        folder, _, name = path.rpartition("/")
        if folder in names and (folder, _key(name)) in keys:
            names[folder].append(name)
    found: dict[str, list[str]] = {}
    for folder, present in names.items():
        others, left = {*pairs(present), *gone[folder]}, gone[folder].difference(present)
        for name, picture in pairs({*present, *left}).items():
            if picture in left and name not in others and f"{folder}/{name}" not in known:
                found.setdefault(f"{folder}/{picture}", []).append(f"{folder}/{name}")
    return found


def _key(name: str) -> str:
    """The same of a picture and of all that may belong to it; of few others."""
    return re.sub(r"_\d\d$", "", re.split(r"[.(]", name, maxsplit=1)[0]).lower()[:40]


def renamed(name: str, picture: str, now: str) -> str:
    """What a companion is called when its picture gets another name."""
    if picture == now:
        return name
    for old, new in ((picture, now), (PurePosixPath(picture).stem, PurePosixPath(now).stem)):
        if name[: len(old)].lower() == old.lower() and name[len(old) : len(old) + 1] in (".", "_"):
            return new + name[len(old) :]
    return f"{now}{PurePosixPath(name).suffix}"


class _Pictures:
    """The pictures of one folder. A name that is right but for capitals is found where no other is."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        self._lowered: dict[str, str] = {}
        self._lowered_stems: dict[str, str] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Of several with the same stem, the first one has it."""
        stem = _stem(name)
        self._names.setdefault(name, name)
        self._stems.setdefault(stem, name)
        self._lowered.setdefault(name.lower(), name)
        self._lowered_stems.setdefault(stem.lower(), name)

    def called(self, name: str) -> str | None:
        return self._names.get(name) or self._lowered.get(name.lower())

    def by_stem(self, name: str) -> str | None:
        """The picture with the same stem."""
        return self._stems.get(_stem(name)) or self._lowered_stems.get(_stem(name).lower())

    def picture_of(self, name: str) -> str | None:
        if (takeout := _TAKEOUT.match(name)) is not None:
            for of in (takeout["name"], takeout["name"].rpartition(".")[0]):
                pure = PurePosixPath(of)
                if (found := self.called(f"{pure.stem}({takeout['number']}){pure.suffix}")) is not None:
                    return found
        parts = name.split(".")
        for end in range(len(parts) - 1, 0, -1):
            if (of := self.called(".".join(parts[:end]))) is not None:
                return of
        version = _VERSION.match(name)
        if version and (of := self.called(version["stem"] + version["ending"])):
            return of
        if name.endswith(".json") and len(name) == _CUT + len(".json"):
            cut = [each for each in self._names if each.startswith(name[:_CUT])]
            if len(cut) == 1:
                return cut[0]
        return self.by_stem(name) if ending_of(name) in BY_STEM else None


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
