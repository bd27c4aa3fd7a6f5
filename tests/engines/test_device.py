"""What is asked of a device."""

from __future__ import annotations

import psutil
import torch

from hotfolder.engines.device import free_of, memory_of


def test_free_on_a_cpu_is_what_the_machine_can_give_and_not_what_it_has() -> None:
    cpu = torch.device("cpu")
    _, total = memory_of(cpu)
    assert 0 < free_of(cpu) < total
    assert abs(free_of(cpu) - psutil.virtual_memory().available) < total / 4  # others come and go meanwhile
