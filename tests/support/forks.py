"""Commands and daemons as processes of their own whose libraries are loaded already.

They are children of one process that has imported what they need and done nothing else: a child is there at once,
where Python and its imports take half a second or more, most of what a short command takes. Its streams, folder,
environment and end are its own, as those of a process that was started. What Python itself does at its start is not
done again: what is about that (times, what is imported, locales, other users) has to start Python.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from hotfolder import masking
from tests.support.fork_client import NUMBER, ask, read_number

_REPOSITORY = Path(__file__).resolve().parents[2]
#: What works with models, and would bring torch or Ray: who needs it imports it, as after a start.
_HEAVY = ("engines", "bench", "executors.inline", "executors.ray", "executors.runner", "executors.worker")


class Fork:
    """A child: the part of subprocess.Popen that is used."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = read_number(self._connection)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: Any = None,
    stdout: Any = None, stderr: Any = None,
) -> Fork:  # fmt: skip
    """`python -m WORDS` in a folder, else in this one, with an environment, else this one; streams are files."""
    with contextlib.ExitStack() as stack:
        nothing = stack.enter_context(open(os.devnull, "r+b"))  # noqa: PTH123
        streams = [(stream or nothing).fileno() for stream in (stdin, stdout, stderr)]
        folder = os.open(cwd or ".", os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, folder)
        return Fork(*ask(address(), words, os.environ if env is None else env, streams, folder))


def run(
    *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """The same to its end, and what it has written."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = start(*words, env=env, cwd=cwd, stdout=out, stderr=err)
        try:
            code = child.wait(timeout)
        finally:
            child.kill()
        return subprocess.CompletedProcess(list(words), code, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def hotfolder(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command in this folder and environment, and more of the latter."""
    return run("hotfolder", *map(str, arguments), env={**os.environ, **environ})


@functools.cache
def address() -> str:
    """Where children are asked for: of the process that makes them. It ends with this one."""
    folder = Path(tempfile.mkdtemp(prefix="hotfolder-forks-"))
    path = folder / "socket"
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forks", str(path)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        cwd=_REPOSITORY, start_new_session=True,
    )  # fmt: skip
    began = time.monotonic()
    while not path.exists():
        assert server.poll() is None and time.monotonic() - began < 300, "no process that makes children"
        time.sleep(0.01)
    atexit.register(server.communicate)  # closes its stdin, and waits
    return str(path)


# --- in the process that makes children ----------------------------------------------------------


def load() -> None:
    """What commands and daemons import sooner or later, but for what is heavy."""
    import typer.main

    import hotfolder

    for module in pkgutil.walk_packages(hotfolder.__path__, "hotfolder."):
        if not module.name.removeprefix("hotfolder.").startswith((*_HEAVY, "__main__")):
            importlib.import_module(module.name)
    # The commands are made of their functions once, and not by each child anew.
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(sys.modules["hotfolder.cli.app"].app)
    # The last looks at the environment when it is imported.
    assert not {"torch", "ray", "huggingface_hub"} & set(sys.modules)
    gc.collect()
    gc.freeze()  # children share what is not touched


def _serve(path: Path) -> tuple[list[str], dict[str, str], list[int]]:
    """Returns in a child only: what it is to be. Ends when nobody is there any more who may ask.

    A child is killed when who asked for it is gone, and all of them in the end.
    """
    children: dict[int, tuple[int, socket.socket]] = {}  # by the handle that tells of its end
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{path}.new")
    listener.listen(64)
    Path(f"{path}.new").rename(path)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj == 0:
                for end in children:
                    signal.pidfd_send_signal(end, signal.SIGKILL)
                shutil.rmtree(path.parent, ignore_errors=True)
                sys.exit()
            if key.data is not None and key.data not in children:
                continue  # both have just ended
            if key.data is not None and key.fd != key.data:  # who has asked is gone
                selector.unregister(key.fileobj)
                signal.pidfd_send_signal(key.data, signal.SIGKILL)
                continue
            if key.data is not None:  # a child has ended
                child, connection = children.pop(key.fd)
                selector.unregister(key.fileobj)
                if connection in {each.fileobj for each in selector.get_map().values()}:
                    selector.unregister(connection)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                with contextlib.suppress(OSError), connection:
                    connection.sendall(NUMBER.pack(code))
                continue
            connection, _ = listener.accept()
            asked = _asked(connection)
            if asked is None:
                continue
            words, environ, handles = asked
            child = os.fork()
            if child == 0:
                # Now: whatever is collected later would close what has got its number by then.
                for _, others in children.values():
                    others.close()
                for mine in (connection, listener, selector):
                    mine.close()
                return words, environ, handles
            for handle in handles:
                os.close(handle)
            with contextlib.suppress(OSError):
                connection.sendall(NUMBER.pack(child))
            end = os.pidfd_open(child)
            children[end] = child, connection
            for each in (end, connection):
                selector.register(each, selectors.EVENT_READ, end)


def _asked(connection: socket.socket) -> tuple[list[str], dict[str, str], list[int]] | None:
    """Words, environment and handles; None of somebody who is gone before all of it is told."""
    handles: list[int] = []
    try:
        data, handles, _, _ = socket.recv_fds(connection, 1 << 20, 4)
        while not data.endswith(b"\n"):
            more = connection.recv(1 << 20)
            if not more:
                raise ConnectionError
            data += more
    except OSError:
        for handle in handles:
            os.close(handle)
        connection.close()
        return None
    words, environ = json.loads(data)
    return words, environ, handles


def _become(words: list[str], environ: dict[str, str], handles: list[int]) -> None:
    """What `python -m` does."""
    os.setpgid(0, 0)
    os.fchdir(handles[3])
    for number, handle in enumerate(handles[:3]):
        os.dup2(handle, number)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    masking.learn_environment(os.environ)  # as when it is imported
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    sys.argv = list(words)
    sys.orig_argv = [sys.executable, "-m", *words]
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _end(code: object) -> None:
    """As Python ends, but for taking its modules apart, which takes longer than most commands."""
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    load()
    asked = _serve(Path(sys.argv[1]))
    try:
        _become(*asked)
    except SystemExit as ended:
        _end(ended.code)
    _end(0)
