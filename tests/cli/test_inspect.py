"""`gatework inspect`: the page, the figures, and what it refuses."""

import pytest

from gatework.lens import Retention, load


@pytest.fixture
def run(gatework, tmp_path, small):
    (tmp_path / "long.py").write_bytes(b"def f(x):\n    return [x, (x + 1)]\n\n" * 400)
    assert gatework("train", "long.py", *small, "--steps", "4", "--out", "mine").code == 0
    return tmp_path / "mine"


def test_it_writes_a_page_and_figures(gatework, run, tmp_path):
    result = gatework("inspect", "mine", "--figures")
    assert result.code == 0, result.err
    assert "mine/inspection.html" in result.out
    assert "In short" in (run / "inspection.html").read_text(encoding="utf-8")
    folder = run / "inspection" / "mine"
    assert isinstance(load(folder / "retention.safetensors"), Retention)
    assert {p.name for p in folder.glob("*.png")} == {
        f"{n}.png" for n in ("horizon", "flow", "retention", "saturation")
    }
    assert gatework("inspect", "mine", "--out", "page.html").code == 0
    assert (tmp_path / "page.html").exists()


def test_what_it_cannot_do_is_told_before_anything_is_measured(gatework, run_folder):
    for arguments, told in [
        (["nowhere"], "no run in 'nowhere'"),
        ([str(run_folder), "--out", "missing/page.html"], "--out missing/page.html"),
        ([str(run_folder)], "held-out bytes"),
    ]:
        result = gatework("inspect", *arguments)
        assert result.code == 2
        assert told in result.err
