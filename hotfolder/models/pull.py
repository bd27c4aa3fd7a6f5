"""Fetching models: resumed where it was cut off, checked by sha256, and there only when it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hotfolder.errors import DiskFull, DownloadFailed, ModelDamaged, UsageError
from hotfolder.models import records
from hotfolder.models.entry import FIRST, FileEntry, ModelEntry
from hotfolder.models.registry import sha256_of, usual_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: `report(file, done, total)`, in bytes; total 0 where it is not known.
Report = Callable[[str, int, int], None]
#: Bytes that are written at a time: what is cut off in the middle of them comes again.
_CHUNK = 1 << 16
#: Seconds: to connect, and of silence.
_TIMEOUT = (10, 60)
_GITHUB = "https://github.com"
#: The origin of what came from the daemon of a cluster.
RECEIVED = "received"
#: Space that is left free, in bytes.
_RESERVE = 512 << 20


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file of a hub's repository; `sha256` of large ones, `blob` (git's own sha1) of small ones."""

    path: str
    size: int
    sha256: str | None
    blob: str | None


class Puller:
    """Fetches models. `mirror` takes the place of https://github.com; the hub's is $HF_ENDPOINT."""

    def __init__(self, mirror: str, report: Report) -> None:
        self._mirror = mirror.rstrip("/")
        self._report = report

    def pull(self, entry: ModelEntry) -> Path:
        """Fetches one model unless it is here; gives its folder.

        Raises UsageError where no checked source is known, DiskFull before anything is fetched, DownloadFailed,
        ModelDamaged when what came is not what was pinned: nothing of it is kept then.
        """
        if not entry.is_pullable:
            raise UsageError(
                f"'{entry.name}' has no pinned source", f"put it into {usual_folder() / entry.name} yourself"
                + (f" ({entry.source})" if entry.source else ""),
            )  # fmt: skip
        home = usual_folder() / entry.name
        with _explained(entry), alone(home):
            if entry.repo:
                return self._from_hub(entry, entry.repo)
            missing = [file for file in entry.files if not (home / file.path).is_file()]
            check_space(home, sum(file.size or 0 for file in missing) - _begun(home, missing))
            for file in missing:
                self._fetch(file, home / file.path)
            installed = [
                records.InstalledFile(str(home / f.path), (home / f.path).stat().st_size, str(f.sha256))
                for f in entry.files
            ]
            records.write(usual_folder(), records.Record(entry.name, "pulled", str(home), tuple(installed), {}))
            return home

    def _fetch(self, file: FileEntry, target: Path) -> None:
        part = target.with_name(f".{target.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        found = self._download(file, part)
        if found != file.sha256 and resumed:  # what was there already may have been of something else
            part.unlink(missing_ok=True)
            found = self._download(file, part)
        if found != file.sha256:
            part.unlink(missing_ok=True)
            raise _not_it(file.url or file.path, found, str(file.sha256))
        part.rename(target)

    def _download(self, file: FileEntry, part: Path) -> str:
        """Goes on with `part`, or begins it; gives the sha256 of the whole."""
        import requests

        url = str(file.url)
        if self._mirror and url.startswith(_GITHUB):
            url = self._mirror + url.removeprefix(_GITHUB)
        digest, have = _digest_of(part)
        if file.size and have >= file.size:
            return digest.hexdigest()
        # Compressed on the way, its bytes could not be counted.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                return digest.hexdigest()  # it was whole already
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                part.unlink(missing_ok=True)
                digest, have = hashlib.sha256(), 0
            announced = int(answer.headers.get("Content-Length", 0))
            total = file.size or have + announced
            check_space(part.parent, max(announced, total - have))
            with part.open("ab") as out:
                for chunk in answer.iter_content(_CHUNK):
                    have += len(chunk)
                    if have > total > 0:
                        return "more came than was pinned"
                    out.write(chunk)
                    digest.update(chunk)
                    self._report(file.path, have, total)
                out.flush()
                os.fsync(out.fileno())
        if file.size and have < file.size:
            raise DownloadFailed(f"{url} ended after {have} of {file.size} bytes", _AGAIN)
        return digest.hexdigest()

    def _from_hub(self, entry: ModelEntry, repo: str) -> Path:
        """Into the hub's own cache, which other programs share; the record that it is here is written last."""
        from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
        from huggingface_hub.constants import HF_HUB_CACHE

        entry = _pinned(HfApi(), entry, repo)
        wanted = _listing(HfApi(), entry, repo) if entry.is_folder else _listed(entry)
        cached = {
            remote.path
            for remote in wanted
            if isinstance(try_to_load_from_cache(repo, remote.path, revision=entry.revision), str)
        }
        check_space(Path(HF_HUB_CACHE), sum(remote.size for remote in wanted if remote.path not in cached))
        installed, folder = [], Path()
        for remote in wanted:
            bar = _bar(remote.path, self._report)
            local = Path(hf_hub_download(repo, remote.path, revision=entry.revision, tqdm_class=bar))
            installed.append(_checked(local, remote, repo))
            folder = local.parents[len(Path(remote.path).parts) - 1]
        record = records.Record(entry.name, "pulled", str(folder), tuple(installed), {}, str(entry.revision))
        records.write(usual_folder(), record)
        return folder


def remove(entry: ModelEntry) -> int:
    """Takes a model off this machine, but for what is only linked; gives the bytes that are free then.

    Raises UsageError where there is nothing to be removed.
    """
    home = usual_folder()
    record = records.read(home, entry.name)
    freed = 0
    if record is None:
        raise UsageError(
            f"'{entry.name}' was not put here by 'models pull' or 'models link'",
            "what you put somewhere yourself, remove yourself; see: hotfolder models list",
        )
    if record.origin == "pulled" and entry.repo:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.errors import CacheNotFound

        with contextlib.suppress(CacheNotFound):
            strategy = scan_cache_dir().delete_revisions(record.revision or str(entry.revision))
            freed += strategy.expected_freed_size
            strategy.execute()
    elif record.origin in ("pulled", RECEIVED):
        for file in record.files:
            freed += file.size
            Path(file.path).unlink(missing_ok=True)
        if record.origin == RECEIVED:
            shutil.rmtree(record.folder, ignore_errors=True)  # which is of this content alone
    records.path_of(home, entry.name).unlink()
    with contextlib.suppress(OSError):
        (home / entry.name).rmdir()  # unless a person keeps something there
    return freed


_AGAIN = "run it again: it goes on where it was cut off"


@contextlib.contextmanager
def _explained(entry: ModelEntry) -> Iterator[None]:
    """What the libraries raise, in words that help."""
    import requests
    from huggingface_hub.errors import (
        GatedRepoError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except (GatedRepoError, RepositoryNotFoundError) as error:
        status = error.response.status_code if error.response is not None else 0
        if entry.gated or status in (401, 403):
            raise DownloadFailed(
                f"'{entry.name}' is gated: its owner lets in only who has accepted the licence",
                f"accept it on the page of {entry.repo}, make a read token in your account's settings there, and "
                "set it as HF_TOKEN in the environment",
            ) from None
        raise DownloadFailed(
            f"the hub does not know {entry.repo} at {entry.revision}", "is HF_ENDPOINT right?"
        ) from None
    except OfflineModeIsEnabled:
        raise DownloadFailed("HF_HUB_OFFLINE is set: nothing is fetched", "unset it for this command") from None
    except (requests.ConnectionError, requests.Timeout, LocalEntryNotFoundError) as error:
        asked = getattr(error, "request", None)
        host = urlsplit(asked.url).netloc if asked is not None and asked.url else "the hub"
        raise DownloadFailed(f"'{entry.name}' could not be fetched: {host} cannot be reached", _AGAIN) from None
    except (HTTPError, requests.RequestException) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadFailed(f"'{entry.name}' could not be fetched: {said[0]}", _AGAIN) from None
    except OSError as error:
        if error.errno is None:  # of a library's own making
            raise DownloadFailed(f"'{entry.name}' could not be fetched: {error}", _AGAIN) from None
        raise DownloadFailed(
            f"'{entry.name}' could not be written: {error.strerror}", "is there space, and may it be written?"
        ) from error


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """Two at once would write into each other."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadFailed(
                f"'{home.name}' is just being fetched by another process", "wait for it"
            ) from None
        try:
            yield
        finally:
            (home / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                home.rmdir()  # if nothing came


def _digest_of(part: Path) -> tuple[Any, int]:
    """The sha256 so far, and the bytes, of what was fetched already."""
    digest, have = hashlib.sha256(), 0
    if part.exists():
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                have += len(chunk)
    return digest, have


def _listed(entry: ModelEntry) -> list[_Remote]:
    return [_Remote(file.hub_path or file.path, file.size or 0, file.sha256, None) for file in entry.files]


def _pinned(api: HfApi, entry: ModelEntry, repo: str) -> ModelEntry:
    """With the commit that was fetched before, or the newest one, where none is named."""
    if entry.revision != FIRST:
        return entry
    record = records.read(usual_folder(), entry.name)
    commit = record.revision if record is not None and record.revision else api.model_info(repo).sha
    if not commit:
        raise DownloadFailed(f"the hub names no commit of {repo}", "is HF_ENDPOINT right?")
    return entry.model_copy(update={"revision": commit})


def _listing(api: HfApi, entry: ModelEntry, repo: str) -> list[_Remote]:
    """What the pinned commit holds of what is wanted."""
    info = api.model_info(repo, revision=entry.revision, files_metadata=True)
    if info.sha != entry.revision:
        raise ModelDamaged(f"the hub gives commit {info.sha} of {repo}, not {entry.revision}", "ask another hub")
    found = [
        _Remote(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None, file.blob_id)
        for file in info.siblings or ()
        if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in entry.include)
    ]
    names = {remote.path for remote in found}
    absent = [file.path for file in entry.files if file.path not in names]
    if absent:
        raise DownloadFailed(f"{repo} at {entry.revision} has no {', '.join(absent)}", "is HF_ENDPOINT right?")
    return found


def _checked(local: Path, remote: _Remote, repo: str) -> records.InstalledFile:
    """What came, if it is what was pinned. If not, it leaves the cache. Raises ModelDamaged."""
    found = sha256_of(local)
    right = found == remote.sha256 if remote.sha256 else remote.blob in (None, _git_blob(local))
    if not right:
        blob = local.resolve()
        local.unlink()
        blob.unlink(missing_ok=True)
        raise _not_it(f"{remote.path} of {repo}", found, remote.sha256 or f"git blob {remote.blob}")
    return records.InstalledFile(str(local), local.stat().st_size, found)


def _git_blob(path: Path) -> str:
    """What git calls this content: the sha1 of it behind a header with its length."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _not_it(what: str, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"{what} is not what it should be (sha256 {found[:16]}…, expected {expected[:16]}…): nothing was installed",
        "try again later, or from another network; if it stays so, the source has changed",
    )


def _begun(home: Path, files: list[FileEntry]) -> int:
    parts = [home / f".{Path(file.path).name}.part" for file in files]
    return sum(part.stat().st_size for part in parts if part.is_file())


def check_space(folder: Path, needed: int) -> None:
    """Whether so many bytes, and some more, can be written there. Raises DiskFull."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > 0 and needed + _RESERVE > free:
        raise DiskFull(
            f"{needed / 1e9:.1f} GB are to be fetched, and {folder} has {free / 1e9:.1f} GB left",
            "free some space; XDG_DATA_HOME and HF_HOME say where models go",
        )


def _bar(name: str, report: Report) -> Any:
    """A class for the hub's downloads whose progress bar only reports."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})
            self.had = int(options.get("initial") or 0)
            self.whole = int(options.get("total") or 0)

        def update(self, count: float | None = 1) -> bool | None:
            self.had += int(count or 0)
            report(name, self.had, self.whole)
            return None

    return Bar
