"""Names of files and folders that nobody dropped: unfinished copies, and what programs and systems leave about."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Mapping

#: The default of watch.ignore, by who leaves it. Shell patterns, case ignored; docs/inboxes.md repeats them.
LITTER: Mapping[str, tuple[str, ...]] = {
    "hidden files and folders": (".*",),
    "downloads of browsers": ("*.crdownload", "*.part", "*.partial", "*.download", "*.opdownload", "*.unconfirmed"),
    "other downloads": (
        "*.aria2", "*.filepart", "*.downloading", "*.!qb", "*.!ut", "*.!bt", "*.!sync", "*.bc!", "*.jc!", "*.xltd",
        "*.fdmdownload", "*.ytdl", "*.lftp-pget-status", "*.unfinished", "*.incomplete", "*.inprogress",
    ),
    "copies and synchronisation": ("*.tmp", "*.temp", "*.ffs_tmp", "~syncthing~*", "*.sb-????????-??????"),
    "editors and office programs": (
        "*~", "#*#", "*.swp", "*.swo", "*.swx", "4913", "~$*", "*.kra-autosave.kra", "*.lock",
    ),
    "Windows": (
        "*zone.identifier", "*:smartscreen", "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db",
        "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information", "ntuser.dat",
    ),
    "macOS": ("__macosx", "icon[! -~]", "network trash folder", "temporary items", "*:afp_afpinfo", "*:afp_resource"),
    "NAS": (
        "@eadir", "*@synoeastream", "*@synoresource", "synofile_thumb_*", "#recycle", "#snapshot", "@recycle",
        "@recently-snapshot", "@__thumb", "@tmp", "~snapshot",
    ),
    "file systems": ("lost+found",),
}  # fmt: skip
IGNORED_BY_DEFAULT = tuple(pattern for patterns in LITTER.values() for pattern in patterns)
_SPECIAL = re.compile(r"[*?\[]")


def ignored(name: str, patterns: tuple[str, ...]) -> str | None:
    """The pattern by which a file or folder name is left alone, or None. Case is ignored."""
    if not patterns:
        return None
    lowered = name.lower()
    if not _any_of(patterns)(lowered):  # asked for each file of an inbox at each scan
        return None
    return next(p for p in patterns if fnmatch.fnmatchcase(lowered, p.lower()))


@functools.lru_cache(maxsize=8)
def _any_of(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether one of them fits. Most are an ending, a beginning or a whole name, which cost next to nothing."""
    names, begin, end, rest = set(), [], [], []
    for pattern in map(str.lower, patterns):
        if not _SPECIAL.search(pattern):
            names.add(pattern)
        elif pattern[:1] == "*" and not _SPECIAL.search(pattern[1:]):
            end.append(pattern[1:])
        elif pattern[-1:] == "*" and not _SPECIAL.search(pattern[:-1]):
            begin.append(pattern[:-1])
        else:
            rest.append(pattern)
    beginnings, endings = tuple(begin), tuple(end)
    others = re.compile("|".join(map(fnmatch.translate, rest)) or r"(?!)")

    def fits(name: str) -> bool:
        return (
            name in names
            or name.endswith(endings)
            or name.startswith(beginnings)
            or others.match(name) is not None
        )

    return fits
