"""`config.yaml` from a stranger: a sentence for whatever stands in it, soon."""

from __future__ import annotations

import pytest
import yaml

from gatework.errors import InputError
from gatework.tasks import task_class
from gatework.train.manifest import MOST_BYTES, Manifest, read_manifest

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=False)
)


@pytest.fixture
def good(tiny, corpus) -> str:
    return Manifest.describe(
        tiny, task_class("text")(tiny.task, {}), corpus, parameters=7
    ).as_yaml()


def refused(folder, content: str | bytes) -> InputError:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    (folder / "config.yaml").write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_manifest(folder)
    assert len(str(caught.value)) < 2000
    return caught.value


def test_what_was_written_is_read(tmp_path, good, tiny):
    (tmp_path / "config.yaml").write_text(good, encoding="utf-8")
    assert read_manifest(tmp_path).config == tiny.settled
    assert read_manifest(tmp_path).as_yaml() == good


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (BOMB, "anchor"),
        ("[" * 5000, "more than 8"),
        ("{a: " * 5000, "more than 8"),
        ("- " * 5000, "more than 8"),
        ("a: !!python/object/apply:os.system ['true']\n", "tag"),
        ("a: !x 1\n", "tag"),
        ("a: !!timestamp x\n", "tag"),
        ("a: 1\na: 2\n", "twice"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("a: 2026-99-99\n", "cannot be read"),
        ("a: 'b\n", "cannot be read"),
        (b"a: \xff\n", "cannot be read"),
        (b"a: \0\n", "cannot be read"),
        ("a: " + "x" * MOST_BYTES, "at most"),
        ("cls: 1\nself: 2\n", "source"),
    ],
)
def test_what_is_no_settings_is_refused(tmp_path, content, told):
    assert told in str(refused(tmp_path, content))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 10**12),
        ("hidden_size", "0x1" + "0" * 9000),
        ("layers", 1_000_000),
        ("task.embedding_size", 10**12),
        ("batch_size", 10**30),
        ("window", 10**30),
        ("steps", 10**30),
        ("threads", 5000),
        ("cell", "x" * 100_000),
        ("cell", {"a": ["b"] * 100_000}),
        ("files", ["x"] * 200_000),
        ("clip", float("inf")),
    ],
)
def test_what_no_run_can_have_is_refused(tmp_path, good, field, value):
    settings = yaml.safe_load(good)
    *outer, field = ["config", *field.split(".")]
    place = settings
    for name in outer:
        place = place[name]
    place[field] = value
    content = yaml.safe_dump(settings).replace("'0x1", "0x1").replace("0'", "0")
    assert field in str(refused(tmp_path, content)) or "at most" in str(refused(tmp_path, content))
