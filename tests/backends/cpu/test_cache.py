"""The cache on disk: found again, safe against others, damage and crowding."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from gatework.backends.cpu import cache


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
    for age, name in enumerate("abc"):
        cache.cached([name], lambda: b"x" * 100)
        newest = max(entries(folder), key=lambda p: p.stat().st_mtime)
        os.utime(newest, (1000 + age, 1000 + age))
    cache.cached(["a"], never)  # used again
    cache.cached(["d"], lambda: b"x" * 100)
    cache.cached(["a"], never)
    assert cache.cached(["b"], lambda: b"again") == b"again"
    assert len(entries(folder)) <= 3


def test_an_empty_name_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEWORK_CACHE_DIR", "")
    monkeypatch.chdir(tmp_path)
    assert cache.cached(["a"], lambda: b"1") == b"1"
    assert cache.cached(["a"], lambda: b"2") == b"2"


def test_a_folder_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GATEWORK_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert cache.cached(["a"], lambda: b"code") == b"code"


def test_the_standard_place(monkeypatch, tmp_path):
    monkeypatch.delenv("GATEWORK_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "gatework"


def test_many_at_once(folder):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: cache.cached([str(k % 5)], lambda: b"code"), range(200)))
    assert set(found) == {b"code"}
    assert len(list(folder.iterdir())) == 5
