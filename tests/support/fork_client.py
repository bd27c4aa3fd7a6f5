"""Asks the process of tests/support/forks.py for a child. As a script: the child's streams and end are one's own.

It imports little: a script is to start in no time.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Mapping, Sequence

#: A number of a process, and how one ended: as subprocess.Popen.returncode says it.
NUMBER = struct.Struct("i")


def ask(
    address: str, words: Sequence[str], environ: Mapping[str, str], streams: Sequence[int], folder: int
) -> tuple[socket.socket, int]:
    """Begins `python -m WORDS` with these three streams in this open folder: where its end is told, and its id."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    asked = json.dumps([list(words), dict(environ)]).encode() + b"\n"
    sent = socket.send_fds(connection, [asked], [*streams, folder])
    connection.sendall(asked[sent:])
    return connection, read_number(connection)


def read_number(connection: socket.socket) -> int:
    data = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    if len(data) < NUMBER.size:
        raise ConnectionError("the process that makes children is gone")
    return int(NUMBER.unpack(data)[0])


def main() -> None:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    connection, _ = ask(sys.argv[1], sys.argv[2:], os.environ, (0, 1, 2), folder)
    code = read_number(connection)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
