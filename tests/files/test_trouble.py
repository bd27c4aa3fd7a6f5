"""Whose fault an error of the file system is."""

from __future__ import annotations

import errno

import pytest

from hotfolder.files.trouble import explain_read
from hotfolder.types import FailureClass


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.EREMOTEIO]
)
def test_what_may_pass_is_not_the_files_fault(code: int) -> None:
    found = explain_read(OSError(code, "so"), "a.txt")
    assert found is not None
    assert found.failure is FailureClass.ENVIRONMENT
    assert "a.txt" in found.message


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTSUP]
)
def test_what_stays_is_the_files_own(code: int) -> None:
    assert explain_read(OSError(code, "so"), "a.txt") is None
