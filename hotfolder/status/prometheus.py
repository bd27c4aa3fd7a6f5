"""What `status` tells, for node_exporter's textfile collector: `status --prometheus`, and `metrics.textfile`.

https://prometheus.io/docs/practices/naming/ and https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hotfolder.errors import UsageError
from hotfolder.files.durable import write_durably
from hotfolder.files.trouble import refused
from hotfolder.status.live import STATES

#: What the file begins with: one that begins otherwise is somebody else's.
_BEGIN = b"# HELP hotfolder_"
#: Labels and value.
_Sample = tuple[dict[str, str], float]


def write(found: Mapping[str, Any], now: float, target: str) -> None:
    """To a file, which is there whole or not at all, or with '-' to stdout. Raises UsageError, DiskFull."""
    text = exposition(found, now)
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(target).absolute()
    try:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.ENOTSUP, "it is no regular file")  # a device, or a link, would be replaced
        if not _is_ours(path):
            raise UsageError(f"{path} is there already, and has no metrics of hotfolder", "name another file")
        write_durably(path, text)
    except OSError as error:
        raise refused(
            error, f"{path} cannot be written", "name a file in a folder that this user may write to"
        ) from None


def _is_ours(path: Path) -> bool:
    """Whether nothing would be lost with a file: it is not there, empty, or one of these. Raises OSError."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_BEGIN))
    except FileNotFoundError:
        return True
    return begin in (b"", _BEGIN)


def exposition(found: Mapping[str, Any], now: float) -> str:
    """Every metric with its help and type; each sample names its root, so that several roots go together."""
    lines = []
    for name, kind, told, samples in _metrics(found, now):
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{_labels({'root': found['root'], **labels})} {value:.17g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _metrics(found: Mapping[str, Any], now: float) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    daemon, queue = found["daemon"], found["queue"]
    is_up = daemon["running"]
    yield "hotfolder_up", "gauge", "Whether a daemon works on the root.", [({}, is_up)]
    yield "hotfolder_status_time_seconds", "gauge", "When this was written.", [({}, now)]
    if is_up and daemon["started_at"]:
        yield (
            "hotfolder_build_info",
            "gauge",
            "Version of the daemon.",
            [({"version": daemon["version"] or ""}, 1)],
        )
        started = datetime.fromisoformat(daemon["started_at"]).timestamp()
        yield "hotfolder_start_time_seconds", "gauge", "When the daemon was started.", [({}, started)]
        last = now - (found["heartbeat_seconds"] or 0)
        yield (
            "hotfolder_heartbeat_time_seconds",
            "gauge",
            "When the daemon gave its last sign of life.",
            [({}, last)],
        )
        told = "Whether nothing is begun, by whom: a person, or trouble with the machine."
        reasons = {
            "person": daemon["paused"] and daemon["taking"],
            "trouble": daemon["paused"] and not daemon["taking"],
        }
        yield "hotfolder_paused", "gauge", told, [({"by": by}, bool(is_so)) for by, is_so in reasons.items()]
        good = not daemon["refused_configuration"]
        told = "Whether the configuration that was read last is in force."
        yield "hotfolder_config_last_reload_successful", "gauge", told, [({}, good)]
        yield (
            "hotfolder_files_arriving",
            "gauge",
            "Files seen and not taken yet.",
            [({}, daemon["unsettled"] or 0)],
        )
        told = "Files in the inboxes that are not taken, by reason."
        alone = [({"reason": kind}, count) for kind, count in (daemon["left_alone"] or {}).items()]
        yield "hotfolder_files_left_alone", "gauge", told, alone
        told = "Results that wait because their files cannot be moved."
        yield "hotfolder_results_unplaced", "gauge", told, [({}, daemon["unplaced"] or 0)]
        if daemon["memory_total"]:
            device = {"device": daemon["device"] or ""}
            for name in ("used", "total"):
                told = f"Memory of the device, {name}."
                yield (
                    f"hotfolder_device_memory_{name}_bytes",
                    "gauge",
                    told,
                    [(device, daemon[f"memory_{name}"] or 0)],
                )
        yield from _of_devices(daemon.get("devices") or ())
    jobs: list[_Sample] = [
        ({"kind": kind, "state": state}, states[state])
        for kind, states in queue.items()
        for state in ("queued", "running", "failed")
    ]
    yield "hotfolder_jobs", "gauge", "Jobs that are not done, by kind and state.", jobs
    done: list[_Sample] = [({"kind": kind}, states["done"]) for kind, states in queue.items()]
    yield "hotfolder_jobs_completed_total", "counter", "Jobs that ended well, by kind.", done
    images: list[_Sample] = [({"result": name}, count) for name, count in found["images"].items()]
    yield "hotfolder_images", "gauge", "Images by what became of them.", images


def _of_devices(devices: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, list[_Sample]]]:
    """Of each device a label with its id, and its machine's name."""
    if not devices:
        return
    labels = [{"device": each["device"], "machine": each["machine"]} for each in devices]
    states: list[_Sample] = [
        ({**label, "state": state}, each["state"] == state)
        for label, each in zip(labels, devices, strict=True)
        for state in STATES
    ]
    yield "hotfolder_worker_state", "gauge", "What each device does: 1 for the state that it is in.", states
    in_work: list[_Sample] = [(label, each["jobs"]) for label, each in zip(labels, devices, strict=True)]
    yield "hotfolder_worker_jobs", "gauge", "Jobs in work on each device.", in_work
    paces: list[_Sample] = [
        ({**label, "kind": kind}, pace)
        for label, each in zip(labels, devices, strict=True)
        for kind, pace in each["pace"].items()
    ]
    yield "hotfolder_worker_jobs_per_second", "gauge", "How fast each device is lately, by kind.", paces
    out: list[_Sample] = [
        (label, each.get("out_seconds") or 0) for label, each in zip(labels, devices, strict=True)
    ]
    yield "hotfolder_worker_out_seconds", "gauge", "For how long each device is set aside, trials with it.", out
    for name in ("used", "total"):
        memory: list[_Sample] = [
            (label, each[f"memory_{name}"])
            for label, each in zip(labels, devices, strict=True)
            if each[f"memory_{name}"]
        ]
        yield f"hotfolder_worker_memory_{name}_bytes", "gauge", f"Memory of each device, {name}.", memory
    degrees: list[_Sample] = [
        (label, each["temperature"]) for label, each in zip(labels, devices, strict=True) if each["temperature"]
    ]
    yield "hotfolder_worker_temperature_celsius", "gauge", "How hot each device is, where that is known.", degrees


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _escaped(value: str) -> str:
    text = value.encode("utf-8", "backslashreplace").decode()  # a name that is no UTF-8
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
