"""What is asked of a device."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from hotfolder.engines.device import free_of, memory_of


def test_free_on_a_cpu_is_what_the_machine_can_give_and_not_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    _, total = memory_of(cpu)
    assert 0 < free_of(cpu) < total
    text = Path("/proc/meminfo").read_text()
    told = re.sub(r"MemAvailable: *\d+", "MemAvailable: 1234567", text)  # others come and go meanwhile
    monkeypatch.setattr(Path, "read_text", lambda *_: told)
    assert free_of(cpu) == 1234567 * 1024
