"""[hooks], [notify] and [metrics]: who is told what the line does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hotfolder.config.sections.base import Section


class HookSettings(Section):
    """Programs of yours that are told: each a list, the program and its arguments, no shell. JSON comes on stdin."""

    on_keep: tuple[str, ...] = Field((), repr=False, description="An image was kept.")
    on_failed: tuple[str, ...] = Field((), repr=False, description="A file could not be worked.")
    on_idle: tuple[str, ...] = Field((), repr=False, description="Everything that was dropped is done.")
    on_paused: tuple[str, ...] = Field(
        (), repr=False, description="The queue waits: disk full, device gone, or you asked for it."
    )
    on_device: tuple[str, ...] = Field(
        (), repr=False, description="One of several devices failed and is set aside, or works again."
    )
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        30.0, description="Longer than that no such program runs: it is ended then."
    )


class NotifySettings(Section):
    """Messages to a phone, a chat, a desktop, by apprise: uv pip install 'hotfolder[notify]'."""

    urls: tuple[str, ...] = Field(
        (), repr=False, description="Where to, as apprise writes it: ntfy://topic, mailto://…, dbus://"
    )
    on: tuple[Literal["keep", "failed", "idle", "paused", "device"], ...] = Field(
        ("failed", "paused"), description="What is told: keep, failed, idle, paused, device."
    )
    every_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60.0, description="No more than one message in so many seconds: what happens meanwhile comes together."
    )


class MetricsSettings(Section):
    """For monitoring, beside `hotfolder status --check` and `--prometheus`."""

    textfile: str = Field(
        "",
        pattern=r"^(~?/.*\.prom)?$",
        description="A file that the daemon writes every 15 seconds for node_exporter's textfile collector, which "
        "reads *.prom: /var/lib/node_exporter/hotfolder.prom. Empty: none.",
    )
