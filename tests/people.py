"""Commands of other users, from many folders: never a traceback, never another root. `python -m tests.people` (root).

Each of the commands is run by each person from each folder; what they may only look at is as it was afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.forks import load
from tests.support.people import Person

GROUP = 43210
#: Who: what they are, and whether they have a home.
PEOPLE = {
    "member": Person(43211, (43211, GROUP), "home-member"),
    "nameless": Person(43212, (GROUP,)),
    "read-only home": Person(43213, (43213, GROUP), "home-read-only"),
    "stranger": Person(43214, (43214,), "home-stranger"),
}
#: Where, below the folder of the trial.
FOLDERS = {
    "the root": "root",
    "an inbox": "root/inbox/score",
    "a folder with settings": "root/inbox/score/portraits",
    "a folder like a root": "root/inbox/score/evil",
    "results": "root/keep/sub",
    "private": "root/.hotfolder/control",
    "outside": "apart",
    "gone": "gone",
}
LIGHT = (
    """
--version | status | status --json | status --check | status --prometheus - | top | top --json | top 3 --by day | stats
stats --json | show {image} | show {image} --json | why {image} | why inbox/score/none.png | export --csv | export
query 'SELECT count(*) FROM results' | query 'SELECT 1' --csv | config check | config show | models list
config show --changed --json | backup {tmp}/copy-{number}.db | pause | resume | cancel --all | retry --all
reroute --keep 7 --dry-run | reroute --keep 7 | reload | stop | init inbox/score/mine | service install
service uninstall | run --once | first inbox/score/none.png | withdraw | withdraw --all | keep {image} | reject {image}
undo | undo --dry-run | restore {image} | restore --all | sheet --out {tmp}/sheet-{number}.png | upscale --top 2
""".strip()
    .replace("\n", " | ")
    .split(" | ")
)
#: With models: seconds each, so from one folder only.
HEAVY = ["doctor --json", "score {image}", "rescore", "generate 'a red circle' --out {tmp}/drawn", "models verify"]


def command_lines(place: str) -> Sequence[str]:
    return [*LIGHT, *HEAVY] if place == "results" else LIGHT


def as_person(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs every command in a child of its own, where all that is needed is imported already."""
    load()
    results = []
    for place, folder in spec["folders"].items():
        for number, line in enumerate(spec["lines"][place]):
            words = {"image": spec["image"], "tmp": spec["tmp"], "number": f"{place[:3].strip()}{number}"}
            results.append({"place": place, "line": line, **_one(folder, line.format(**words))})
    return results


def _one(folder: str, line: str) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began, child = time.monotonic(), os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", write_through=True)
            _become_the_command(folder, line)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        seconds = round(time.monotonic() - began, 2)
        return {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1], "seconds": seconds}


def _become_the_command(folder: str, line: str) -> None:
    """Never returns."""
    import shlex
    import traceback

    code: Any = 0
    try:
        try:
            if folder.endswith("/gone"):
                Path(folder).mkdir()
            os.chdir(folder)
            os.environ["PWD"] = folder
        except OSError as error:
            sys.stderr.write(f"skipped: {error}\n")
            os._exit(77)
        if folder.endswith("/gone"):
            Path(folder).rmdir()
        sys.argv = ["hotfolder", *shlex.split(line)]
        from hotfolder.cli import main

        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - that is what is looked for
        traceback.print_exc()
        code = 99
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def prepare(folder: Path) -> Path:
    """A worked root that the group may look at, and another one in the home of each who has one."""
    from hotfolder.cli.setup import make_root
    from hotfolder.folders.layout import Layout
    from hotfolder.types import Kind
    from tests.support.roots import daemon, picture
    from tests.support.scripted import ScriptedExecutor, always

    folder.chmod(0o755)
    root = folder / "root"
    make_root(root, "tiny", umask="027", in_file=True)
    layout = Layout(root)
    for place in (root, *root.rglob("*")):
        os.chown(place, -1, GROUP)
        if place.is_dir():
            place.chmod(0o2750)
    for number, name in enumerate(["a.png", "sub/b.png"]):
        picture(layout.inbox(Kind.SCORE) / name, number)
    before = os.umask(0o027)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    (root / "inbox/score/portraits").mkdir()
    (root / "inbox/score/portraits/hotfolder.toml").write_text("[gate]\nkeep = 7.0\nupscale = 8.0\n")
    (root / "inbox/score/evil/.hotfolder").mkdir(parents=True)
    (root / "inbox/score/evil/hotfolder.toml").write_text('[hooks]\non_idle = ["x"]\n')
    os.umask(before)
    (folder / "apart").mkdir(mode=0o755)
    for person in PEOPLE.values():
        if person.home is not None:
            home = folder / person.home
            make_root(home / "hotfolder", "tiny")
            for place in (home, *home.rglob("*")):
                os.chown(place, person.uid, person.groups[0])
            if "read-only" in person.home:
                for place in (home, *home.rglob("*")):
                    os.chown(place, 0, person.groups[0])
                    place.chmod(0o750 if place.is_dir() else 0o640)
    return root


def fingerprint(folder: Path) -> str:
    """Everything below it: names, modes, owners, contents. What only tells that somebody looks is left out."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(("-wal", "-shm")):
            continue
        info = path.lstat()
        found.update(f"{path.relative_to(folder)} {info.st_mode:o} {info.st_uid} {info.st_gid}".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def trial(name: str, folder: Path, root: Path, lines: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """What came of all commands of one person; `lines` are those for each kind of folder."""
    person, tmp = PEOPLE[name], folder / f"tmp-{PEOPLE[name].uid}"
    tmp.mkdir(exist_ok=True)
    tmp.chmod(0o1777)
    folders = {place: str(tmp / "gone" if place == "gone" else folder / FOLDERS[place]) for place in lines}
    spec = {"folders": folders, "lines": lines, "image": str(root / "keep/a.png"), "tmp": str(tmp)}
    home = {} if person.home is None else {"HOME": str(folder / person.home)}
    environ = person.environ(TMPDIR=str(tmp), HOTFOLDER_EXECUTOR__DEVICE="cpu", **home)
    command = person.command([sys.executable, "-m", "tests.people", "--as", json.dumps(spec)])
    done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return [{"person": name, **each} for each in results]


def complaints(results: Sequence[Mapping[str, Any]], root: Path) -> Iterator[str]:
    """What must not be: tracebacks, codes that no document has, an answer from another root than the one around."""
    for each in results:
        what = f"{each['person']}, in {each['place']}: {each['line']}"
        told = each["out"] + each["err"]
        if "Traceback" in told or "Exception ignored" in told:
            yield f"{what}: a traceback\n{told[-1500:]}"
        if each["code"] not in (0, 1, 2, 3, 4, 77):
            yield f"{what}: exit code {each['code']}\n{told[-500:]}"
        if each["code"] in (1, 2, 4) and not re.search(
            r"^error: |^HOTFOLDER|Usage: |nothing to object|fix: |\"fix\": ", told, re.M
        ):
            yield f"{what}: exit code {each['code']} and no sentence\n{told[-500:]}"
        named = re.search(r'^root: +(.*)$|"root": "([^"]*)"|^root +(/.*)$', told, re.M)
        if named is not None and each["place"] not in ("outside", "gone"):
            found = named[1] or named[2] or named[3]
            if found != str(root):
                yield f"{what}: it acted on {found}"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as", dest="spec")
    parser.add_argument("--show", action="store_true", help="every command and what came of it")
    options = parser.parse_args()
    if options.spec:
        json.dump(as_person(json.loads(options.spec)), sys.stdout)
        return 0
    with tempfile.TemporaryDirectory(prefix="people-") as name:
        folder, count, wrong = Path(name), 0, 0
        root = prepare(folder)
        before = fingerprint(root)
        for person in PEOPLE:
            began = time.monotonic()
            results = trial(person, folder, root, {place: command_lines(place) for place in FOLDERS})
            for each in results if options.show else ():
                last = (each["err"].strip() or each["out"].strip()).splitlines()
                say(f"  {each['code']:>3} {each['seconds']:5.2f}  {each['place']}: {each['line']}: {last[:1]}")
            found = list(complaints(results, root))
            for each_found in found:
                say(each_found)
            slow = max(results, key=lambda each: each["seconds"])
            closed = sum(each["code"] == 77 for each in results)
            say(
                f"{person}: {len(results)} commands ({closed} not: the folder is closed to them), {len(found)} "
                f"complaints, {time.monotonic() - began:.0f} s, slowest {slow['seconds']} s ({slow['line']})"
            )
            count, wrong = count + len(results), wrong + len(found)
        changed = fingerprint(root) != before
        say(f"{count} commands, {wrong} complaints; the root is {'CHANGED' if changed else 'as it was'}")
        return int(bool(wrong) or changed)


if __name__ == "__main__":
    sys.exit(main())
