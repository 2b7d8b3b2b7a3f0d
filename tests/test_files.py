"""Only regular files are read, and none is written through what lies in its place."""

from __future__ import annotations

import os
import socket

import pytest

from gatework.files import read_bytes, write_atomically


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "place"


def a_pipe(path):
    os.mkfifo(path)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


@pytest.mark.parametrize(
    "make",
    [
        a_pipe,
        a_socket,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/dev/tty"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("nowhere"),
        lambda path: None,
    ],
)
def test_what_is_no_file_is_not_read(place, make):
    make(place)
    with pytest.raises(OSError, match=r".") as refused:
        read_bytes(place)
    assert refused.value.strerror


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_what_no_file_can_be_called_is_refused(place, name):
    with pytest.raises(OSError, match="no file can be called that"):
        read_bytes(place.with_name(name))


def test_a_file_and_a_link_to_one_are_read(place):
    place.write_bytes(b"abc")
    place.with_name("link").symlink_to(place)
    assert read_bytes(place.with_name("link"), 3, 3) == b"abc"
    with pytest.raises(OSError, match="3 bytes, at most 2"):
        read_bytes(place, 2)
    with pytest.raises(OSError, match="3 bytes, at least 4"):
        read_bytes(place, least=4)


def test_a_file_that_is_larger_than_memory_is_refused_by_its_size(place):
    place.touch()
    os.truncate(place, 2**42)
    with pytest.raises(OSError, match="at most"):
        read_bytes(place, 2**20)


@pytest.mark.parametrize("make", [a_pipe, lambda p: p.symlink_to(p.with_name("victim"))])
def test_what_lies_where_a_file_is_filled_is_removed(place, make):
    make(place.with_name(".place.partial"))
    write_atomically(place, b"abc")
    assert place.read_bytes() == b"abc"
    assert [path.name for path in place.parent.iterdir()] == ["place"]
