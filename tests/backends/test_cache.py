"""The cache on disk: found again, safe against others, damage and crowding."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gatework.backends import cache
from gatework.backends.cpu.machine import jit
from gatework.backends.cpu.vector.target import host


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEWORK_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def entries(folder):
    return sorted(folder.glob(f"*{cache.SUFFIX}"))


def never():
    raise AssertionError("made again")


def test_made_once(folder):
    assert cache.cached(["a"], lambda: b"code") == b"code"
    assert cache.cached(["a"], never) == b"code"


@pytest.mark.parametrize("other", [["b"], ["a", ""], ["a", "b"], []])
def test_every_part_counts(folder, other):
    cache.cached(["a"], lambda: b"first")
    assert cache.cached(other, lambda: b"second") == b"second"


@pytest.fixture
def compiled(folder, monkeypatch):
    """The modules and processors that were compiled, not found in the cache."""
    found = []
    monkeypatch.setattr(jit, "_compile", lambda *key: found.append(key) or b"code")
    return found


CHANGES = {
    "triple": {"triple": "another"},
    "processor": {"cpu": "another"},
    "features": {"features": "+another"},
    "optimisation": {"optimised": False},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_code_for_another_processor_is_another_entry(change, compiled):
    for target in (host(), replace(host(), **change), host()):
        jit.compile_object("module", target)
    assert compiled == [("module", host()), ("module", replace(host(), **change))]


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (jit.llvmlite, "__version__", "another"),
        (jit.llvm, "llvm_version_info", (1, 2, 3)),
        (jit, "OPTIMISATION", {"speed_level": 0}),
        (jit, "GENERATION", {"opt": 0}),
    ],
)
def test_code_by_another_compiler_is_another_entry(place, name, value, compiled, monkeypatch):
    jit.compile_object("module", host())
    monkeypatch.setattr(place, name, value)
    jit.compile_object("module", host())
    jit.compile_object("module", host())
    assert len(compiled) == 2


def test_only_the_user_can_read_or_write(folder):
    cache.cached(["a"], lambda: b"code")
    (entry,) = entries(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 200])
def test_a_damaged_entry_is_made_again(folder, damage):
    cache.cached(["a"], lambda: b"code")
    entries(folder)[0].write_bytes(damage)
    assert cache.cached(["a"], lambda: b"code") == b"code"
    assert cache.cached(["a"], never) == b"code"


def test_every_damaged_byte_is_noticed(folder):
    cache.cached(["a"], lambda: b"code")
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    for k in range(len(whole)):
        for damaged in (whole[:k], whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :]):
            entry.write_bytes(damaged)
            assert cache.cached(["a"], lambda: b"again") == b"again"
            entry.write_bytes(whole)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(folder, mode):
    cache.cached(["a"], lambda: b"code")
    folder.chmod(mode)
    with pytest.warns(UserWarning, match="only you can write"):
        assert cache.cached(["a"], lambda: b"new") == b"new"


def test_an_entry_that_others_can_write_is_made_again(folder):
    cache.cached(["a"], lambda: b"code")
    entries(folder)[0].chmod(0o666)
    assert cache.cached(["a"], lambda: b"new") == b"new"


def test_links_are_not_followed(folder, tmp_path):
    cache.cached(["a"], lambda: b"code")
    (entry,) = entries(folder)
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert cache.cached(["a"], lambda: b"new") == b"new"


def test_a_pipe_is_not_waited_for(folder):
    cache.cached(["a"], lambda: b"code")
    (entry,) = entries(folder)
    entry.unlink()
    os.mkfifo(entry, 0o600)
    assert cache.cached(["a"], lambda: b"new") == b"new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_others_is_refused(folder):
    cache.cached(["a"], lambda: b"code")
    os.chown(entries(folder)[0], 12345, -1)
    assert cache.cached(["a"], lambda: b"new") == b"new"
    os.chown(folder, 12345, -1)
    with pytest.warns(UserWarning, match="only you can write"):
        cache.cached(["a"], lambda: b"newer")


def test_the_entries_unused_for_longest_go_first(folder, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 3 * (32 + 100))
    monkeypatch.setattr(cache, "SWEPT_EVERY", 1)
    for age, name in enumerate("abc"):
        cache.cached([name], lambda: b"x" * 100)
        newest = max(entries(folder), key=lambda p: p.stat().st_mtime)
        os.utime(newest, (1000 + age, 1000 + age))
    cache.cached(["a"], never)  # used again
    cache.cached(["d"], lambda: b"x" * 100)
    cache.cached(["a"], never)
    assert cache.cached(["b"], lambda: b"again") == b"again"
    assert len(entries(folder)) <= 3


def test_what_was_never_finished_goes_too(folder, monkeypatch):
    cache.cached(["a"], lambda: b"x" * 100)
    unfinished = folder / f"other{cache.UNFINISHED}"
    unfinished.write_bytes(b"x" * 1000)
    os.utime(unfinished, (1000, 1000))
    monkeypatch.setattr(cache, "LARGEST", 500)
    monkeypatch.setattr(cache, "SWEPT_EVERY", 1)
    cache.cached(["b"], lambda: b"x" * 100)
    assert not unfinished.exists()
    assert len(entries(folder)) == 2


def test_files_of_others_stay(folder, monkeypatch):
    cache.cached(["a"], lambda: b"code")
    (folder / "notes.txt").write_text("mine")
    os.utime(folder / "notes.txt", (1000, 1000))
    monkeypatch.setattr(cache, "LARGEST", 1)
    monkeypatch.setattr(cache, "SWEPT_EVERY", 1)
    cache.cached(["b"], lambda: b"code")
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("ends", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(ends, folder, monkeypatch):
    cache.cached(["a"], lambda: b"code")

    def fail(*_):
        raise ends

    monkeypatch.setattr(cache.os, "replace", fail)
    try:
        assert cache.cached(["b"], lambda: b"code") == b"code"
    except KeyboardInterrupt:
        assert isinstance(ends, KeyboardInterrupt)
    assert len(list(folder.iterdir())) == 1


def test_a_read_only_folder_is_read(folder, monkeypatch):
    cache.cached(["a"], lambda: b"code")

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache.os, "utime", refuse)
    assert cache.cached(["a"], never) == b"code"


def test_a_folder_that_is_removed_is_made_again(folder):
    cache.cached(["a"], lambda: b"code")
    entries(folder)[0].unlink()
    folder.rmdir()
    assert cache.cached(["a"], lambda: b"code") == b"code"
    assert cache.cached(["a"], never) == b"code"


def test_an_empty_name_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEWORK_CACHE_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert cache.cached(["a"], lambda: b"1") == b"1"
    assert cache.cached(["a"], lambda: b"2") == b"2"


def test_a_folder_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GATEWORK_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert cache.cached(["a"], lambda: b"code") == b"code"


@pytest.fixture
def chosen_by_none(monkeypatch):
    monkeypatch.delenv("GATEWORK_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.parametrize("home", ["relative", "/nonexistent"])
def test_a_home_that_is_not_there(home, chosen_by_none, monkeypatch, tmp_path):
    """Nothing is kept, and no home is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", home)
    assert cache.folder() is None
    assert cache.cached(["a"], lambda: b"code") == b"code"
    assert not list(tmp_path.iterdir())


def test_no_home_and_no_name(chosen_by_none, monkeypatch):
    """A user id that the system does not know, as containers have."""
    monkeypatch.setattr(cache.os.path, "expanduser", lambda path: path)  # what it then returns
    assert cache.folder() is None
    assert cache.cached(["a"], lambda: b"code") == b"code"


def test_a_home(chosen_by_none, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "gatework"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == tmp_path / ".cache" / "gatework"


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_place_that_is_no_folder(kind, monkeypatch, tmp_path):
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("")
    else:
        place.symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("GATEWORK_CACHE_DIR", str(place))
    assert cache.cached(["a"], lambda: b"code") == b"code"
    assert [p.name for p in tmp_path.iterdir()] == ["place"]


def test_the_standard_place(monkeypatch, tmp_path):
    monkeypatch.delenv("GATEWORK_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "gatework"


def test_many_at_once(folder):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: cache.cached([str(k % 5)], lambda: b"code"), range(200)))
    assert set(found) == {b"code"}
    assert len(list(folder.iterdir())) == 5


def test_the_folder_is_looked_through_now_and_then(folder, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 20 * (32 + 100))
    for k in range(200):
        cache.cached([str(k)], lambda: b"x" * 100)
    assert len(entries(folder)) < 20 + 8 * cache.SWEPT_EVERY
