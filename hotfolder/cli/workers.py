"""`hotfolder workers`."""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.config.root import find_root
from hotfolder.core.health import LONGEST
from hotfolder.core.times import span
from hotfolder.errors import EnvironmentTrouble, ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder
from hotfolder.printable import printable
from hotfolder.status.live import read

#: Seconds between two looks.
_WATCH_EVERY = 1.0
_WAIT = 0.2
_COLUMNS = ("device", "machine", "state", "holds", "pace", "memory", "waits for")


def show_workers(given: Path | None, *, as_json: bool, watch: bool) -> None:
    """Once, or again and again until Ctrl-C. Raises UsageError for JSON that would not end."""
    if watch and as_json:
        raise UsageError("--watch does not end, so it cannot be one JSON document", "leave one of the two out")
    layout = Layout(find_root(given))
    if as_json:
        table.write_json(gather(layout))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _show(gather(layout))
        while watch:
            time.sleep(_WATCH_EVERY)
            if sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")
            _show(gather(layout))


def gather(layout: Layout) -> dict[str, Any]:
    """Every device, as JSON; without a daemon those that one would work on."""
    pid = holder(layout.lock)
    live = read(layout.live_status) if pid is not None else None
    if pid is not None:
        workers = [dict(each) for each in live.devices] if live else []
        return {"running": True, "paused": live.paused if live else None, "workers": workers}
    nothing: dict[str, Any] = {
        "pid": None, "state": "no daemon", "holds": [], "kind": None, "jobs": 0, "stage": None, "step": 0, "steps": 0,
        "pace": {}, "memory_used": None, "memory_total": None, "temperature": None, "reason": None, "lacks": [],
        "back_in_seconds": None, "out_seconds": None,
    }  # fmt: skip
    workers = [{"device": device, "machine": platform.node(), **nothing} for device in _configured(layout)]
    return {"running": False, "paused": None, "workers": workers}


def _configured(layout: Layout) -> Sequence[str]:
    """The devices of this machine that a daemon would work on."""
    from hotfolder.cli.run import named_devices
    from hotfolder.config import loading

    settings = loading.load(layout.root)
    if settings.executor.kind == "ray":  # which nodes there are is known to who is connected
        return []
    return [device.id for device in named_devices(settings)]


def _show(found: Mapping[str, Any]) -> None:
    table.show(_COLUMNS, [_row(each, is_paused=bool(found["paused"])) for each in found["workers"]])
    if not found["running"]:
        sys.stdout.write("no daemon runs (start it with: hotfolder run)\n")
    elif not found["workers"]:
        sys.stdout.write("the daemon has not told yet\n")
    elif found["paused"]:
        sys.stdout.write(f"paused: {printable(found['paused'])}\n")


def _row(each: Mapping[str, Any], *, is_paused: bool = False) -> Sequence[Any]:
    return (
        each["device"], each["machine"], _doing(each), ", ".join(each["holds"]) or None, _pace(each) or None,
        _memory(each) or None, _waits_for(each, is_paused=is_paused) or None,
    )  # fmt: skip


def _doing(each: Mapping[str, Any]) -> str:
    step = f" {each['step']}/{each['steps']}" if each["steps"] else ""
    return f"{each['stage']}{step}" if each["stage"] else str(each["state"])


def _pace(each: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{kind} {rate:.1f}/s" if rate >= 1 else f"{kind} {rate * 60:.1f}/min"
        for kind, rate in each["pace"].items()
    )


def _memory(each: Mapping[str, Any]) -> str:
    if not each["memory_total"] or not each["memory_used"]:
        return ""
    return f"{each['memory_used'] / 2**30:.1f} of {each['memory_total'] / 2**30:.1f} GiB{heat(each)}"


def heat(each: Mapping[str, Any]) -> str:
    """Behind what is told of a device's memory: ', 71 °C' where that is known."""
    return f", {each['temperature']} °C" if each["temperature"] else ""


def _waits_for(each: Mapping[str, Any], *, is_paused: bool = False) -> str:
    work = "the end of the pause" if is_paused else "work"
    return "; ".join(part for part in (_waits_to_work(each, work), *_lacks(each)) if part)


def _lacks(each: Mapping[str, Any]) -> Sequence[str]:
    """What it is not given, for want of a model."""
    return [f"no jobs of {printable(lack['model'])}: {printable(lack['why'])}" for lack in each["lacks"]]


def _waits_to_work(each: Mapping[str, Any], work: str) -> str:
    match each["state"]:
        case "unfit":
            return f"{printable(each['reason'])}{_so_far(each)}"
        case "set aside":
            wait = each["back_in_seconds"]
            return f"{printable(each['reason'])}{_so_far(each)}; tried again in {span(wait or 0)}"
        case "drained" | "draining":
            return f"you: hotfolder workers resume {each['device']}"
        case "leaving":
            return "its worker, to leave what was taken back from it"
        case "idle" | "unloaded":
            return work
    return f"trial, after: {printable(each['reason'])}{_so_far(each)}" if each["reason"] else ""


def _so_far(each: Mapping[str, Any]) -> str:
    """Behind why a device gets no work: ', for 2 h' where that is long."""
    return f", for {span(each['out_seconds'])}" if is_long_out(each) else ""


def is_long_out(each: Mapping[str, Any]) -> bool:
    """Whether a device gets no work for longer than any wait between two trials, but for a trial now and then."""
    out = each.get("out_seconds")  # a daemon of an older version does not tell it
    return out is not None and out > LONGEST


def long_out(devices: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence on each of those."""
    return [
        f"{each['device']} gets no work for {span(each['out_seconds'])}: {each['reason']}"
        for each in devices
        if is_long_out(each)
    ]


def one_line(each: Mapping[str, Any]) -> str:
    """A device for `status`."""
    facts = [f"{each['device']:<8} {_doing(each)}", ", ".join(each["holds"]), _pace(each), _memory(each)]
    if each["state"] == "unfit":
        return f"{each['device']}  {_waits_for(each)}"
    if is_long_out(each) and each["state"] != "set aside":
        facts.append(_waits_to_work(each, "work"))  # its trial
    if each["state"] in ("set aside", "drained", "draining"):
        facts.insert(1, each["state"] if each["state"] != "set aside" else f"set aside: {_waits_for(each)}")
        facts[0] = str(each["device"])
    facts += _lacks(each)
    return "  ".join(fact for fact in facts if fact)


def run_drain(given: Path | None, device: str, *, as_json: bool) -> None:
    """Raises UsageError for a device that is not there."""
    _ask(given, "drain", device, as_json=as_json)


def run_undrain(given: Path | None, device: str, *, as_json: bool) -> None:
    """Raises UsageError for a device that is not there."""
    _ask(given, "undrain", device, as_json=as_json)


def _ask(given: Path | None, do: str, device: str, *, as_json: bool) -> None:
    from hotfolder.cli.queue import ask, later, not_refused

    layout = acting_on(given)
    told = [each["device"] for each in gather(layout)["workers"]]
    known = told or _configured(layout)  # the daemon may only be starting
    if known and device not in known:
        raise UsageError(f"there is no device '{device}'", f"known here: {', '.join(known)}")
    answer = not_refused(ask(layout, {"do": do, "device": device}))
    if as_json:
        table.write_json({"root": str(layout.root), "device": device, "asked": do, "answer": answer})
    elif answer is None:
        sys.stdout.write(later(layout))
    elif do == "undrain":
        what = "is given work again" if answer["was_out"] else "was given work all the time"
        sys.stdout.write(f"{device} {what}\n")
    else:
        then = "; what is in work on it is finished first" if answer["finishing"] else ""
        sys.stdout.write(f"{device} is given nothing more{then}. Again with: hotfolder workers resume {device}\n")


def run_test(given: Path | None, wanted: Sequence[str], timeout: float, *, as_json: bool) -> ExitCode:
    """Judges one image on each device, all at once. Raises UsageError for a device that is not there."""
    from hotfolder.cli.run import named_devices
    from hotfolder.config import loading
    from hotfolder.demo.pictures import draw_landscape
    from hotfolder.executors.local import LocalExecutor
    from hotfolder.types import Batch, Item, Kind

    settings = loading.load(find_root(given))
    devices = {device.id: device for device in named_devices(settings)}
    if unknown := [name for name in wanted if name not in devices]:
        raise UsageError(f"there is no device '{unknown[0]}'", f"known here: {', '.join(devices)}")
    tested = [device for name, device in devices.items() if not wanted or name in wanted]
    executor = LocalExecutor(settings.runner(), timeout, tested)
    began = time.monotonic()
    waits = {device.id for device in tested}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="hotfolder-test-") as folder:
        image = Path(folder) / "image.png"
        draw_landscape(1).save(image)
        try:
            for number, device in enumerate(tested):
                item = Item(number, 1, str(image), str(Path(folder) / "staging"))
                batch = Batch(number, Kind.SCORE, settings.default_model(Kind.SCORE), (item,))
                try:
                    executor.submit(batch, device.id)
                except EnvironmentTrouble as trouble:
                    found[device.id] = {"ok": False, "error": trouble.message}
                    waits.discard(device.id)
            while waits and time.monotonic() - began < timeout:
                for done in executor.poll(_WAIT):
                    if done.lost is not None:
                        found[done.device] = {"ok": False, "error": done.lost}
                        waits.discard(done.device)
                    elif done.outcome is not None:
                        error = done.outcome.error
                        found[done.device] = {"ok": error is None, "error": error.message if error else None}
                        found[done.device]["seconds"] = round(time.monotonic() - began, 2)
                        waits.discard(done.device)
        finally:
            executor.close()
    for device_id in waits:
        found[device_id] = {"ok": False, "error": f"no result within {timeout:g} s"}
    told = [{"device": device.id, "seconds": None, **found[device.id]} for device in tested]
    if as_json:
        table.write_json({"tested": told})
    else:
        table.show(
            ("device", "result", "seconds"),
            [(each["device"], "ok" if each["ok"] else each["error"], each["seconds"]) for each in told],
        )
    good = sum(bool(each["ok"]) for each in told)
    return ExitCode.DONE if good == len(told) else ExitCode.PARTLY_FAILED if good else ExitCode.FAILURE
