"""`gatework export`: a run's model as a file that others run, or what to do instead."""

import json

import numpy as np
import pytest
import torch

import gatework as gw

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow  # torch takes seconds to record a model

SMALL = {"hidden_size": 6, "steps": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(folder):
    """A run of each kind."""
    (folder / "text").write_text("What is written twice is learned once. " * 40)
    rows = ["unique_id,x,place,y"]
    rows += [
        f"{k},{k * t % 7},{'ab'[t % 2]},{'up' if k % 2 else 'down'}"
        for k in range(12)
        for t in range(5)
    ]
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    (folder / "loads.csv").write_text("y\n" + "1\n2\n4\n" * 40)

    timed = ["unique_id,ds,x,place,old,y"]
    timed += [
        f"{k},2026-01-0{1 + t} 0{t * k % 5}:00,{k * t % 7 if (k + t) % 4 else ''},"
        f"{'ab'[t % 2]},{20 + k},{100 + 7 * k}"
        for k in range(12)
        for t in range(3 + k % 4)
    ]
    (folder / "timed.csv").write_text("\n".join(timed) + "\n")

    def train(name, file, cell, **settings):
        return gw.train_cell(cell, folder / file, out=folder / name, **SMALL, **settings)

    return {
        "text": train("text-run", "text", gw.cells.lstm, layers=2, window=8, embedding_size=4),
        "classify": train("labels", "rows.csv", gw.cells.gru, task="classify", bidirectional=True),
        "tag": train("tags", "rows.csv", gw.cells.mgu, task="tag"),
        "regress": train(
            "numbers",
            "timed.csv",
            gw.cells.gru_d,
            task="regress",
            gaps=True,
            static=("old",),
        ),
        "forecast": train("loads", "loads.csv", gw.cells.gru, task="forecast", horizon=2),
    }


@pytest.fixture
def export(gatework):
    return lambda *arguments: gatework("export", *map(str, arguments))


@pytest.mark.parametrize("kind", ["text", "classify", "tag", "regress", "forecast"])
def test_a_run_of_any_task_predicts_the_same_elsewhere(kind, runs, export):
    run = runs[kind]
    result = export(run.path, "--to", "onnx")
    assert result.code == 0, result.err
    assert "3 sizes" in result.out
    path = run.path / "model.onnx"
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    model = run.task.standalone(gw.load(run.path))
    batch = model.example(4, 5)
    inputs = torch.randint(6, (4, 5)) if kind == "text" else torch.randn_like(batch.inputs)
    with torch.no_grad():
        wanted, _ = model(inputs, lengths=batch.lengths, **batch.more)
    given = {"inputs": inputs, **batch.more}
    given |= {} if batch.lengths is None else {"lengths": batch.lengths}
    feed = {n: v.numpy() for n, v in given.items()}
    for one in session.get_inputs():
        if one.name.startswith("initial_"):
            feed[one.name] = np.zeros((one.shape[0], 5, one.shape[2]), np.float32)
    found = session.run(["prediction"], feed)
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)
    meaning = json.loads(onnx.load(path).metadata_props[0].value)
    assert meaning["unit"] == run.task.unit
    assert str(run.path.parent) not in path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("kind", ["classify", "tag", "regress"])
def test_a_file_reads_the_columns_of_a_table(kind, runs, export):
    """Texts as numbers of their categories, missing values, times and unequal lengths."""
    run, task = runs[kind], runs[kind].task
    assert export(run.path, "--to", "onnx").code == 0
    session = runtime.InferenceSession(run.path / "model.onnx", providers=["CPUExecutionProvider"])
    side = task.read(run.config.files)
    sequences, lengths = side.sequences, side.sequences.lengths
    count, steps = len(sequences), int(lengths.max())
    feed = {"lengths": lengths.astype("i8")}
    feed["inputs"] = np.zeros((steps, count, len(sequences.columns)), "f4")
    gap = np.zeros((steps, count, 1), "f4")
    for k in range(count):
        rows = sequences.rows(k)
        feed["inputs"][: lengths[k], k] = sequences.values[rows]
        if sequences.times is not None:
            own = sequences.times[rows]
            gap[: lengths[k], k, 0] = np.diff(own, prepend=own[:1])
    names = {one.name for one in session.get_inputs()}
    feed |= {"gap": gap} if "gap" in names else {}
    feed |= {"static": sequences.static.astype("f4")} if "static" in names else {}
    for one in session.get_inputs():
        if one.name.startswith("initial_"):
            feed[one.name] = np.zeros((one.shape[0], count, one.shape[2]), np.float32)
    (found,) = session.run(["prediction"], feed)
    model = gw.load(run.path)
    said = {p.id: p for p in task.predict(model, side)}
    for k, name in enumerate(sequences.ids):
        own = found[: lengths[k], k] if kind == "tag" else found[k]
        if kind == "regress":
            assert own == pytest.approx(said[name].labels, rel=1e-4)
        else:
            chances = torch.from_numpy(own).softmax(-1).reshape(-1, own.shape[-1])
            np.testing.assert_allclose(chances, said[name].chances, atol=1e-5)
    assert kind != "regress" or {"gap", "static"} <= names


def test_a_text_goes_on_from_the_state_it_left(runs, export, tmp_path):
    path = tmp_path / "writer.onnx"
    assert export(runs["text"].path, "--to", "onnx", "--out", path).code == 0
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    symbols = np.arange(8).reshape(8, 1)
    states = {f"initial_{n}": np.zeros((2, 1, 6), np.float32) for n in "hc"}
    whole = session.run(None, {"inputs": symbols, **states})
    first = session.run(None, {"inputs": symbols[:3], **states})
    goes_on = {"initial_h": first[1], "initial_c": first[2]}
    rest = session.run(None, {"inputs": symbols[3:], **goes_on})
    np.testing.assert_allclose(np.concatenate([first[0], rest[0]]), whole[0], atol=1e-5)


def test_what_is_asked_wrongly_is_told(runs, export, tmp_path):
    run = runs["tag"].path
    assert "did you mean 'onnx'" in export(run, "--to", "onx").err
    assert "leave out --target" in export(run, "--to", "onnx", "--target", "arm").err
    missing = tmp_path / "no" / "model.onnx"
    assert "make its folder first" in export(run, "--to", "onnx", "--out", missing).err
    assert export(tmp_path, "--to", "onnx").code == 2
