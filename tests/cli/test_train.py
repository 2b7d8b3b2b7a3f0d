"""`gatework train` and `gatework sample`: what they leave, what they say, what they refuse."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from gatework.train import Run, RunConfig, Runner

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from gatework.cli import main; main()"]


def test_training_ends_with_a_figure_a_sample_and_a_run(gatework, text, small):
    result = gatework("train", text, *small, "--steps", "4")
    (path,) = Path("runs").iterdir()
    assert result.code == 0
    assert result.err == ""
    for said in ("bits per byte", "what it writes", "--prompt", str(path), "bytes/s", "left"):
        assert said in result.out
    assert {file.name for file in path.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "weights.safetensors",
        "best.safetensors",
        "checkpoint.safetensors",
        "checkpoint.previous.safetensors",
        "report.html",
    }


def test_without_a_terminal_there_are_plain_lines_only(gatework, text, small):
    out = gatework("train", text, *small, "--steps", "4").out
    assert "\x1b" not in out
    assert "\r" not in out


def test_options_reach_the_settings(gatework, text, small):
    options = (
        "--cell gru --layers 2 --dropout 0.1 --seed 3 --threads 2 --lr 0.01 --time 1h --out mine"
    )
    assert gatework("train", text, *small, "--steps", "4", *options.split()).code == 0
    config = Run.open(Path("mine")).config
    assert config == RunConfig.of(
        cell="gru",
        hidden_size=8,
        layers=2,
        embedding_size=4,
        dropout=0.1,
        batch_size=4,
        window=8,
        learning_rate=0.01,
        seconds=3600.0,
        steps=4,
        seed=3,
        threads=2,
        files=[text],
    )


FIXED = [n for n, field in RunConfig.model_fields.items() if not field.default_factory]


@pytest.mark.parametrize("option", FIXED)
def test_the_defaults_that_help_tells_are_the_true_ones(gatework, option):
    value = RunConfig.model_fields[option].default
    told = gatework("train", "--help").out
    flag = f"--{option.replace('_', '-')} "
    if value is not None and not isinstance(value, bool) and flag in told:
        about = told.split(flag)[1].split("--")[0]
        assert f"({value})" in about


def test_the_report_holds_the_sample_and_the_settings(run_folder):
    report = (run_folder / "report.html").read_text()
    assert re.search("<pre[^>]*>(def|return) ", report)  # the text has no other words to begin with
    for said in ("<svg", "bits per byte", "hidden size", "lstm"):
        assert said in report


def test_a_sample_begins_with_the_prompt_and_follows_the_seed(gatework, run_folder):
    options = ("--prompt", "class Ä", "--length", "30", "--temperature", "0.5")
    first = gatework("sample", "mine", *options)
    assert first.code == 0
    assert first.out.startswith("class Ä")
    assert gatework("sample", "mine", *options).out == first.out
    assert gatework("sample", "mine", *options, "--seed", "1").out != first.out


def test_prompt_and_hint_come_from_the_runs_own_text(gatework, tmp_path, small):
    text = "床前明月光，疑是地上霜。\n白日依山尽，黄河入海流。\n" * 60
    (tmp_path / "诗.txt").write_text(text, encoding="utf-8")
    trained = gatework("train", "诗.txt", *small, "--steps", "4", "--out", "my 诗")
    assert trained.code == 0
    assert "import" not in trained.out
    assert "def " not in trained.out
    sample = trained.out.partition("\nwhat it writes\n\n")[2]
    assert sample.startswith(("床前明月", "白日依山"))
    (hint,) = [line for line in trained.out.splitlines() if line.startswith("more ")]
    _, *command = shlex.split(hint.removeprefix("more"))
    assert command[:2] == ["sample", "my 诗"]
    assert text.count(command[3]) == 60
    asked = gatework(*command, "--length", "3")
    assert asked.out.startswith(command[3])
    assert gatework("sample", "my 诗", "--length", "3").out.startswith(("床前明月", "白日依山"))
    (tmp_path / "诗.txt").unlink()
    without = gatework("sample", "my 诗", "--length", "3")
    assert without.code == 0
    assert "no text of the run" in without.err


def test_a_sample_never_ends_in_half_a_character(gatework, run_folder, monkeypatch):
    for length in range(1, 8):
        written = "月😀é".encode()[:length]
        draw = lambda *_, written=written, **__: (bytes([byte]) for byte in written)  # noqa: E731
        monkeypatch.setattr("gatework.cli.sampling.write_on", draw)
        shown = gatework("sample", "mine", "--prompt", "x").out
        assert shown == f"x{written.decode(errors='ignore')}\n"


def test_a_terminal_that_is_not_utf_8_shows_what_it_can(run_folder):
    command = [*COMMAND, "sample", str(run_folder), "--prompt", "é月", "--length", "1"]
    shown = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True
    )
    assert shown.stdout.startswith(b"\xe9?")


def test_a_finished_run_goes_on_with_a_larger_budget(gatework, text, small, run_folder):
    assert gatework("train", "--resume", "mine", "--steps", "9").code == 0
    assert gatework("train", text, *small, "--steps", "9", "--out", "whole").code == 0
    for name in ("mine", "whole"):
        assert max(record.step for record in Run.open(Path(name)).records()) == 9
    weights = [load_file(f"{name}/checkpoint.safetensors") for name in ("mine", "whole")]
    assert weights[0].keys() == weights[1].keys()


BAD = {
    "unknown cell": ("train TEXT --cell lsmt", "did you mean 'lstm'"),
    "unknown command": ("trian TEXT", "Did you mean 'train'"),
    "unknown option": ("train TEXT --hiden-size 3", "--hidden-size"),
    "missing file": ("train nowhere.txt", "no such file: 'nowhere.txt'"),
    "name of half a character": ("train half\udcff.txt", "is not UTF-8"),
    "empty file": ("train empty", "is empty"),
    "directory": ("train .", "is a directory"),
    "small file": ("train small", "at least"),
    "smallest file": ("train smallest --batch-size 1 --window 1", "at least"),
    "file as run folder": ("train TEXT --steps 1 --out TEXT", "cannot make the run folder"),
    "folder under a file": ("train TEXT --steps 1 --out TEXT/run", "cannot make the run folder"),
    "taken folder": ("train TEXT --steps 1 --out mine", "is not empty"),
    "no hidden units": ("train TEXT --hidden-size 0", "hidden_size = 0"),
    "negative layers": ("train TEXT --layers -1", "layers = -1"),
    "no threads": ("train TEXT --threads 0", "threads = 0"),
    "too large": ("train TEXT --hidden-size 900000", "does not fit into memory"),
    "no streams": ("train TEXT --batch-size 0", "batch_size = 0"),
    "no window": ("train TEXT --window 0", "window = 0"),
    "no steps": ("train TEXT --steps 0", "steps = 0"),
    "no time": ("train TEXT --time 0s", "expected a time"),
    "no duration": ("train TEXT --time soon", "expected a time"),
    "no rate": ("train TEXT --lr 0", "learning_rate = 0"),
    "no number": ("train TEXT --hidden-size many", "--hidden-size"),
    "nan": ("train TEXT --lr nan", "learning_rate = nan"),
    "negative seed": ("train TEXT --seed -1", "seed = -1"),
    "all dropped": ("train TEXT --dropout 1", "dropout = 1"),
    "resume nothing": ("train --resume nowhere", "no run in 'nowhere'"),
    "resume a finished run": ("train --resume mine", "has spent its budget"),
    "resume with settings": ("train --resume mine --cell gru --lr 1", "--cell, --lr beside"),
    "sample nothing": ("sample nowhere", "no run in 'nowhere'"),
    "sample a file": ("sample TEXT", "no run in 'TEXT'"),
    "no temperature": ("sample mine --temperature 0", "temperature = 0"),
    "negative temperature": ("sample mine --temperature -1", "temperature = -1"),
    "no length": ("sample mine --length 0", "length = 0"),
    "no run": ("sample", "RUN"),
    "cut weights": ("sample cut", "cannot be used"),
    "no weights": ("sample bare", "is missing"),
    "no config": ("sample headless", "no run in"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_users_error_is_told_in_a_few_lines_and_loses_nothing(gatework, text, run_folder, case):
    prepare_folders()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    command, message = BAD[case]
    result = gatework(*command.replace("TEXT", text).split())
    assert result.code == 2
    assert message.replace("TEXT", text) in result.err
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 8
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def prepare_folders() -> None:
    """Files and runs that are wrong, each in its way."""
    Path("empty").touch()
    Path("small").write_bytes(b"x" * 100)
    Path("smallest").write_bytes(b"x")
    for name in ("cut", "bare", "headless"):
        Path(name).mkdir()
    config, weights = (Path("mine", n).read_bytes() for n in ("config.yaml", "weights.safetensors"))
    Path("cut", "config.yaml").write_bytes(config)
    Path("cut", "weights.safetensors").write_bytes(weights[:-100])
    Path("bare", "config.yaml").write_bytes(config)
    Path("headless", "weights.safetensors").write_bytes(weights)


def test_a_binary_file_is_trained_on_with_a_note(gatework, tmp_path, small):
    (tmp_path / "image").write_bytes(bytes(range(256)) * 8)
    result = gatework("train", "image", *small, "--steps", "4")
    assert result.code == 0
    assert "binary" in result.out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_whole_and_can_go_on(gatework, text, small, number, code):
    endless = [*small, "--steps", "1000000", "--out", "mine"]
    process = subprocess.Popen(
        [*COMMAND, "train", text, *endless],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    metrics = Path("mine/metrics.jsonl")
    while not (metrics.is_file() and metrics.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert err == ""
    assert "--resume mine" in out
    assert Path("mine/report.html").is_file()
    assert gatework("sample", "mine", "--length", "9").code == 0
    taken = max(record.step for record in Run.open(Path("mine")).records())
    more = str(taken + 3)
    assert gatework("train", "--resume", "mine", "--steps", more).code == 0
    assert max(record.step for record in Run.open(Path("mine")).records()) == taken + 3


def test_nothing_that_was_typed_is_obeyed_by_a_terminal(gatework, tmp_path, small):
    name = "text\x1b]0;gotcha\x07"
    (tmp_path / name).write_bytes(b"def f(x):\n    return [x, (x + 1)]\n\n" * 100)
    result = gatework("train", name, *small, "--steps", "2", "--out", "a\x1b[31m")
    assert result.code == 0
    for arguments in (
        ["train", "nowhere\x1b[31m"],
        ["train", "--nothing\x1b[31m"],
        ["train", name, "--hidden-size", "\x1b[31m"],
        ["no\x1b[31m"],
        ["sample", "nowhere\x1b[31m"],
        ["inspect", "a\x1b[31m", "--out", "nowhere\x1b[31m/page"],
    ):
        said = gatework(*arguments)
        assert said.code == 2
        assert "\x1b" not in said.err.replace("\x1b[0m", "") + said.out
    assert "\x1b" not in result.out
    assert r"text\x1b]0;gotcha\x07" in result.out


def test_small_texts_are_told_in_small_units(gatework, text, small):
    out = gatework("train", text, *small, "--steps", "2").out
    assert "3.1 kB to learn from, 350 bytes held out" in out


def test_a_resumed_run_says_where_it_goes_on(gatework, run_folder):
    assert "going on at step 4, 50%" in gatework("train", "--resume", "mine", "--steps", "8").out


def test_a_run_that_was_killed_before_it_was_saved_says_so(gatework, text, small, monkeypatch):
    def killed(self, progress):
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "step", killed)
        assert gatework("train", text, *small, "--steps", "3", "--out", "mine").code == 9
    result = gatework("train", "--resume", "mine")
    assert result.code == 0
    assert "beginning anew" in result.out


def test_a_full_disk_is_told_and_the_run_goes_on_from_what_is_kept(
    gatework, text, small, monkeypatch
):
    def full(path, content, **options):
        raise OSError(28, "cannot be written (No space left on device)", str(path))

    settings = [text, *small, "--steps"]
    assert gatework("train", *settings, "4", "--out", "mine").code == 0
    with monkeypatch.context() as patch:
        patch.setattr("gatework.train.checkpoint.write_atomically", full)
        result = gatework("train", "--resume", "mine", "--steps", "8")
    assert result.code == 2
    assert "checkpoint.safetensors': cannot be written (No space left on device)" in result.err
    assert "make room, then: gatework train --resume mine" in result.err
    assert Run.open(Path("mine")).load_model(last=True)
    assert gatework("train", "--resume", "mine", "--steps", "8").code == 0


def test_several_processes_of_torchrun_do_not_compare(gatework, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = gatework("compare")
    assert result.code == 2
    assert "2 processes, started by torchrun" in result.err


def test_several_processes_that_torchrun_did_not_start_are_told(gatework, text, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    result = gatework("train", text)
    assert result.code == 2
    assert "start it with torchrun" in result.err


def test_the_best_model_is_used_unless_the_last_is_wanted(gatework, run_folder):
    path = run_folder / "best.safetensors"
    weights = {name: weight * 0 for name, weight in load_file(path).items()}
    save_file(weights, path, {"place": '{"step": 1, "progress": 0.25, "cost": 2.0}'})
    best = gatework("sample", "mine", "--length", "40")
    last = gatework("sample", "mine", "--length", "40", "--last")
    assert "the best, 2.000 at 25%" in best.err
    assert last.err == ""
    assert best.out != last.out
