"""One process at a time trains into a folder.

The folder itself is locked, so nothing is left behind: the lock goes with the process, however it
ends. Windows and some network disks have no such locks; there nothing is claimed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from weakref import WeakValueDictionary

from gatework.errors import InputError

__all__ = ["Claim", "claim"]


class Claim:
    """A folder that no other process can claim while this object lives."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        if sys.platform == "win32":
            return
        import fcntl

        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process trains in {str(folder)!r}",
                "a folder that one process at a time writes to",
                "wait until it has ended, or name another folder",
            ) from None
        except OSError:  # this disk has no locks
            pass

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


_claims: WeakValueDictionary[Path, Claim] = WeakValueDictionary()  # this process's


def claim(folder: Path) -> Claim:
    """Claim a folder for this process, which may do so more than once.

    Raises:
        InputError: another process has claimed it.
    """
    path = folder.resolve()
    found = _claims.get(path)
    if found is None:
        found = _claims[path] = Claim(path)
    return found
