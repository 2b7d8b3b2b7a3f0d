"""Files on disk: read only if they are files, written in one move."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["open_regular", "read_bytes", "write_atomically"]

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_bytes(path: Path, most: int | None = None, least: int = 0) -> bytes:
    """Return what a file holds, if it is a regular file of the right size.

    Nothing else is read: a device has no end, a pipe waits for someone to write. The file is
    opened before it is looked at, so that it cannot be exchanged in between.

    Args:
        path: the file, or a link to one.
        most: bytes that it may hold; None for any number.
        least: bytes that it must hold.

    Raises:
        OSError: it is missing, not to be read, no regular file, or too large or small; `strerror`
            says so.
    """
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise _refused(path, f"it has {size:,} bytes, at most {most:,} are expected")
        if size < least:
            raise _refused(path, f"it has {size:,} bytes, at least {least:,} are expected")
        return file.read(size)


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor.

    Raises:
        OSError: it is missing, not to be read, or no regular file.
    """
    waiting = getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody writes to opens at once
    try:
        descriptor = os.open(path, os.O_RDONLY | waiting | getattr(os, "O_BINARY", 0))
    except ValueError:  # a zero byte or half a character, which no file's name has
        raise _refused(path, "no file can be called that") from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise _refused(path, f"it is {KINDS.get(kind, 'something else')}, not a file")
    return descriptor


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Fill a file beside `path`, then put it there in one move.

    Whoever reads `path` finds the old content or the new, never a part of one. What stands in the
    place of the file beside it, left by a process that was killed or a link that leads elsewhere,
    is removed, not followed.

    Args:
        path: the file.
        content: of it.
        durable: wait until it is on the disk, so that it outlives a loss of power.

    Raises:
        OSError: the disk is full, or the folder gone or not to be written to; `strerror` says so.
            What stood at `path` is as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}; it needs {len(content):,} bytes)"
        raise OSError(error.errno, reason, str(path)) from None
    finally:
        if not partial.is_dir():
            partial.unlink(missing_ok=True)


def _refused(path: Path, reason: str) -> OSError:
    return OSError(errno.EINVAL, reason, str(path))
