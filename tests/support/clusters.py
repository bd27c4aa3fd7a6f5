"""Ray clusters on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

#: Of each node.
NODE = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 80 * 2**20}
#: A node or head that is gone is noticed in seconds instead of a minute.
SOON_NOTICED = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
#: What works on a node gives way to all else by default: to other tests it would, for minutes.
AS_OTHERS = {"RAY_worker_niceness": "0"}
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    **SOON_NOTICED,
    # One that is gone refuses at once, here; one that is held up by other tests is no such one.
    "RAY_health_check_timeout_ms": "10000",
    **AS_OTHERS,
}


def skip_without_ray() -> None:
    """Imports nothing: Ray reads its environment when it is imported, and clusters need theirs."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra 'ray' is not installed")


@contextlib.contextmanager
def cluster() -> Iterator[tuple[Any, str]]:
    """One node with a token, and its address. Where Ray is not installed, the test is skipped."""
    with mock.patch.dict(os.environ, _ENVIRONMENT):
        skip_without_ray()
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={**NODE, "include_dashboard": False, "include_log_monitor": False},
        )
        try:
            yield made, made.address
        finally:
            made.shutdown()
