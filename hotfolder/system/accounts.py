"""Users of this machine, and what they may do: for a service that is to run as one of them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hotfolder.errors import UsageError


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can be named in `User=`."""

    name: str
    uid: int
    gid: int
    home: Path

    @property
    def is_me(self) -> bool:
        return self.uid == os.geteuid()

    def may(self, path: Path, need: str) -> bool:
        """Whether this user may read ('r'), write ('w') or enter or run ('x') it. Only who is root can ask for others.

        The kernel is asked, as that user: it knows access lists, and each folder on the way.
        """
        if self.is_me:
            return os.access(path, {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}[need], effective_ids=True)
        test = shutil.which("test")
        if test is None or os.geteuid() != 0:
            return True  # not known
        groups = os.getgrouplist(self.name, self.gid)
        done = subprocess.run(
            [test, f"-{need}", str(path)], user=self.uid, group=self.gid, extra_groups=groups, cwd="/", timeout=60
        )
        return done.returncode == 0


def account(name: str | None, environ: Mapping[str, str] = os.environ) -> Account:
    """By name; without one, who called sudo, else this user. Raises UsageError where there is no such user."""
    wanted = name or (environ.get("SUDO_USER") if os.geteuid() == 0 else None)
    try:
        found = pwd.getpwnam(wanted) if wanted else pwd.getpwuid(os.geteuid())
    except (KeyError, ValueError):
        if wanted:
            raise UsageError(f"this machine has no user '{wanted}'", "see: getent passwd") from None
        raise UsageError(f"user {os.geteuid()} has no name on this machine", "say --user NAME") from None
    return Account(found.pw_name, found.pw_uid, found.pw_gid, Path(found.pw_dir))
