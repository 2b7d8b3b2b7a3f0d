"""Compiled objects on disk, in the user's own cache folder.

An entry is loaded as code, so nothing is read that somebody else could have written: the folder
and each file must belong to the user and be writable by nobody else. An entry begins with the
digest of what follows; a damaged one counts as absent and is written anew. Entries appear by
renaming, so that processes at the same time see all of an entry or nothing.

The folder is $GATEWORK_CACHE_DIR if that is set (empty: nothing is kept), else gatework/ in
$XDG_CACHE_HOME or ~/.cache. Where there is no home, or the disk is full or read-only, what cannot
be kept is not kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

LARGEST = 64 * 2**20  # bytes of all entries
SWEPT_EVERY = 16  # new entries on average, after which the folder is looked through
SUFFIX = ".object"
UNFINISHED = SUFFIX + ".part"  # what a process was writing when it ended


def folder() -> Path | None:
    """The folder that is used, or None when nothing shall be kept."""
    chosen = os.environ.get("GATEWORK_CACHE_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():  # a relative one counts as none, says its standard
        return base / "gatework"
    home = Path(os.path.expanduser("~"))
    return home / ".cache" / "gatework" if home.is_absolute() and home.is_dir() else None


def cached(parts: Iterable[str], make: Callable[[], bytes]) -> bytes:
    """What `make` gives, from disk if it is there.

    Args:
        parts: Everything that the result depends on.
        make: Makes the result; called when there is no good entry.
    """
    where = _safe(folder())
    if where is None:
        return make()
    path = where / (_key(parts) + SUFFIX)
    found = _read(path)
    if found is None:
        found = make()
        with suppress(OSError):  # a full or read-only disk is no reason to fail
            _write(path, found)
            if int(path.stem, 16) % SWEPT_EVERY == 0:  # to look at all entries takes milliseconds
                _make_room(where)
    return found


def _key(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def _safe(where: Path | None) -> Path | None:
    """The folder, made if it is missing; None where others could write into it."""
    if where is None:
        return None
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = where.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode) or not _own(status):
        warnings.warn(
            f"compiled code is not kept: {where} is not a folder that only you can write to; "
            "run chmod 700 on it, or set GATEWORK_CACHE_DIR to a folder of your own",
            stacklevel=2,
        )
        return None
    return where


def _own(status: os.stat_result) -> bool:
    """Whether a file is the user's and only the user can write it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: Path) -> bytes | None:
    """An entry, or None when it is missing, damaged or somebody else's."""
    try:
        # opened without waiting: a pipe would wait for its other end
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _own(status):
                return None
            digest, content = file.read(32), file.read()
    except OSError:
        return None
    if hashlib.sha256(content).digest() != digest:
        return None
    with suppress(OSError):  # a read-only folder is read all the same
        os.utime(path)  # the entry was used: it is the last to go
    return content


def _write(path: Path, content: bytes) -> None:
    # readable by the user alone
    descriptor, temporary = tempfile.mkstemp(suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _make_room(where: Path) -> None:
    """Remove the entries that were not used for longest, until the rest is small enough."""
    entries = []
    for path in (*where.glob(f"*{SUFFIX}"), *where.glob(f"*{UNFINISHED}")):
        with suppress(OSError):  # another process may have removed it
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= LARGEST:
            break
        with suppress(OSError):
            path.unlink()
        total -= size
