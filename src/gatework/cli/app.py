"""The commands and what they accept. What they do lies one file per command beside this one.

Only what `gatework --help` needs is imported at the top: torch takes seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.rich_utils import rich_format_error

from gatework.cli.interrupt import Signalled, heard
from gatework.cli.options import (
    CELL_HELP,
    FIND,
    BatchSize,
    Bidirectional,
    Device,
    Dropout,
    EmbeddingSize,
    Files,
    HiddenSize,
    Last,
    Layers,
    Out,
    Patience,
    Precision,
    Predictions,
    Rate,
    RateOrFind,
    RunFolder,
    SaveEvery,
    Seed,
    Steps,
    TensorBoard,
    Threads,
    Time,
    ToRead,
    TrainedCell,
    Window,
    cells_option,
)
from gatework.cli.task_options import takes_column_options, takes_task_options
from gatework.printable import printable

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train, compare and look into recurrent networks. Write the gates once.",
    epilog="Begin with: gatework train",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


UsageError = typer.BadParameter.__base__
"""What the parser raises for words that it cannot use; typer gives it no name of its own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what a user got wrong ends it with a message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that is not UTF-8 shows a ? instead
            stream.reconfigure(errors="replace")
    try:
        with heard():
            sys.exit(app(arguments, prog_name="gatework", standalone_mode=False))
    except UsageError as error:  # type: ignore[misc]
        error.message = printable(error.message)
        rich_format_error(error)
        sys.exit(error.exit_code)
    except ValueError as error:
        from gatework.errors import InputError

        if not isinstance(error, InputError):
            raise
        _fail(error)
    except OSError as error:  # a full disk, a folder taken away
        _fail(_told(error))
    except Signalled as ended:
        notes = "; ".join(["interrupted", *getattr(ended, "__notes__", [])])
        print(printable(notes), file=sys.stderr)
        sys.exit(ended.exit_code)


def _told(error: OSError) -> str:
    """What the system says of a file, and what is kept of the work."""
    what = str(error) if error.filename is None else f"{error.filename!r}: {error.strerror}"
    return "\n  ".join([what, *getattr(error, "__notes__", [])])


def _fail(error: object) -> NoReturn:
    print(printable(f"error: {error}"), file=sys.stderr)
    sys.exit(2)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"gatework {version('gatework')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:\n\n"
    "gatework train\n\n"
    "gatework train notes.txt --cell gru --time 10m\n\n"
    "gatework train notes.txt --cell my_cells.py:latch\n\n"
    "gatework train notes.txt --lr find\n\n"
    "gatework train loads.csv --task forecast --horizon 24\n\n"
    "gatework train Vowels_TRAIN.ts --task classify --held-out Vowels_TEST.ts\n\n"
    "gatework train --resume runs/mine --time 30m"
)
@takes_task_options
def train(
    files: Files = None,
    cell: TrainedCell = None,
    hidden_size: HiddenSize = None,
    layers: Layers = None,
    embedding_size: EmbeddingSize = None,
    dropout: Dropout = None,
    time: Time = None,
    steps: Steps = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    window: Window = None,
    lr: RateOrFind = None,
    bidirectional: Bidirectional = None,
    patience: Patience = None,
    device: Device = None,
    precision: Precision = None,
    save_every: SaveEvery = None,
    tensorboard: TensorBoard = None,
    threads: Threads = None,
    out: Out = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with a run, exactly where it was saved."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Repeat a run: its config.yaml; other options change it."
        ),
    ] = None,
    *,
    asked: dict[str, Any],
) -> None:
    """Train a recurrent model on a text, a table or labelled sequences.

    Without a FILE it learns Python's own source. What is learned is seen
    from the file; gatework data FILE tells what was understood. Ends with
    figures on what was held out, beside those of what needs no model, and
    a folder that holds settings, measurements, weights and a report.
    Ctrl-C ends early and loses nothing.
    """
    settings = {
        "hidden_size": hidden_size,
        "layers": layers,
        "embedding_size": embedding_size,
        "dropout": dropout,
        "seed": seed,
        "batch_size": batch_size,
        "window": window,
        "learning_rate": lr,
        "bidirectional": bidirectional,
        "patience": patience,
        "device": device,
        "precision": precision,
        "save_seconds": save_every,
        "tensorboard": tensorboard,
        "threads": threads,
        "files": files or None,
        **asked,
    }
    budget = {"seconds": time, "steps": steps}
    from gatework.cli import asked as checks

    if resume is not None:
        checks.check_resumed({"cell": cell, **settings, "out": out, "config": config})
        checks.check_runs(resume)
        from gatework.cli import training

        training.resume(resume, budget)
    else:
        repeated = {} if config is None else checks.settings_of_run(config)
        typed = checks.given({**checks.cell_settings_typed(cell), **settings, **budget})
        from gatework.tasks.guessing import with_task

        find_rate = typed.get("learning_rate") == FIND
        if find_rate:
            typed["learning_rate"] = None
        wanted = with_task({**repeated, **typed})
        checks.check_settings(wanted)
        from gatework.cli import training

        training.train(wanted, out, find_rate=find_rate)


@app.command(epilog="Example: gatework sample runs/mine --prompt 'class Queue' --temperature 0.5")
def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="Text to continue.", show_default="a line of the held-out text"),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Below 1 safer, above 1 wilder.")] = 0.7,
    length: Annotated[int, typer.Option(help="Bytes to write.")] = 500,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    last: Last = False,
) -> None:
    """Continue a text with a trained model."""
    from gatework.cli import asked

    asked.check_runs(run)
    from gatework.cli import sampling

    sampling.sample(run, prompt, temperature, length, seed, last=last)


@app.command(
    epilog="Examples:\n\n"
    "gatework forecast runs/loads --plot forecast.png\n\n"
    "gatework forecast runs/loads this-week.csv --out forecast.csv\n\n"
    "cat this-week.csv | gatework forecast runs/loads - > forecast.csv"
)
def forecast(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Series to go on from; - for a csv table on standard input.",
            show_default="what the run learned from",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The table of forecasts: csv."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the first series: .png or .svg."),
    ] = None,
    last: Last = False,
) -> None:
    """Forecast what comes after the last value of each series.

    A table with unique_id, ds and a column for each quantile; in a
    pipe it goes to standard output, a terminal shows a drawing.
    """
    from gatework.cli import asked

    for manifest in asked.check_runs(run):
        asked.check_kind(manifest, run, "forecast")
    asked.check_out("--out", out)
    asked.check_out("--plot", plot)
    asked.check_ending("--out", out, ".csv")
    asked.check_ending("--plot", plot, ".png", ".svg")
    from gatework.cli import forecasting

    forecasting.forecast(run, files or (), out, plot, last=last)


@app.command(
    epilog="Examples:\n\n"
    "gatework predict runs/vowels new.ts\n\n"
    "cat rows.jsonl | gatework predict runs/states - --out labels.csv"
)
def predict(run: RunFolder, files: ToRead, out: Predictions = None, last: Last = False) -> None:
    """Predict labels with a trained model: csv, with probabilities where they are classes."""
    _predict(run, files, out, None, last)


@app.command(epilog="Example: gatework classify runs/vowels new.ts")
def classify(run: RunFolder, files: ToRead, out: Predictions = None, last: Last = False) -> None:
    """Predict the class of each sequence, with the probabilities of all."""
    _predict(run, files, out, "classify", last)


@app.command(epilog="Example: tail -f rows.jsonl | gatework tag runs/states -")
def tag(run: RunFolder, files: ToRead, out: Predictions = None, last: Last = False) -> None:
    """Predict the class of each row; from standard input row by row, as rows come."""
    _predict(run, files, out, "tag", last)


def _predict(run: Path, files: list[str], out: Path | None, kind: str | None, last: bool) -> None:
    from gatework.cli import asked

    asked.check_runs(run)
    asked.check_out("--out", out)
    from gatework.cli import predicting

    predicting.predict(run, files, out, kind, last=last)


@app.command(
    epilog="Examples:\n\ngatework evaluate runs/mine\n\ngatework evaluate runs/mine other.csv"
)
def evaluate(
    run: RunFolder,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE", help="To measure on.", show_default="what the run has held out"
        ),
    ] = None,
    last: Last = False,
) -> None:
    """Measure a trained model, beside what needs no model."""
    from gatework.cli import asked

    asked.check_runs(run)
    from gatework.cli import evaluating

    evaluating.evaluate(run, files or [], last=last)


@app.command(
    epilog="Examples:\n\n"
    "gatework export runs/mine --to onnx\n\n"
    "gatework export runs/amp --to c --target cortex-m7 --out build/amp"
)
def export(
    run: RunFolder,
    to: Annotated[str, typer.Option(help="onnx for ONNX Runtime and its like, c for an object.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file; of C objects its name without an ending.",
            show_default="model in the run's folder",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Of C objects the machine.", show_default="x86-64-v3"),
    ] = None,
    last: Last = False,
) -> None:
    """Write a trained model for where there is no Python."""
    from gatework.cli import asked

    asked.check_runs(run)
    from gatework.cli import exporting

    exporting.export(run, to, out, target, last=last)


@app.command(
    epilog="Examples:\n\n"
    "gatework compare\n\n"
    "gatework compare novel.txt --time 20m\n\n"
    "gatework compare --cell gru --cell 'gru\\[r=1]' --parameters 500000\n\n"
    "gatework compare --cell my_cells.py:latch --cell lstm"
)
@takes_task_options
def compare(
    files: Files = None,
    cells: Annotated[list[str] | None, cells_option("rnn,lstm,gru")] = None,
    parameters: Annotated[
        int, typer.Option(help="Learned numbers in each model; hidden sizes follow.")
    ] = 150_000,
    layers: Layers = None,
    embedding_size: EmbeddingSize = None,
    dropout: Dropout = None,
    time: Time = None,
    steps: Steps = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    window: Annotated[
        int | None, typer.Option(help="Steps between two cuts of the gradient.", show_default="128")
    ] = None,
    lr: Rate = None,
    threads: Threads = None,
    out: Out = None,
    *,
    asked: dict[str, Any],
) -> None:
    """Train cells side by side on the same data and show how far back each remembers.

    All have equally many parameters and learn from the same. The time
    budget, three minutes unless given, is for all of them together.
    Leaves one HTML page, and a run folder for each cell.
    """
    settings = {
        "layers": layers,
        "embedding_size": embedding_size,
        "dropout": dropout,
        "seconds": time,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "window": window,
        "learning_rate": lr,
        "threads": threads,
        "files": files or None,
        **asked,
    }
    from gatework.cli import asked as checks

    checks.check_alone()
    chosen = checks.trainable_cells_typed(cells or ["rnn,lstm,gru"])
    from gatework.tasks.guessing import with_task

    wanted = with_task(checks.given(settings))
    checks.check_settings(wanted)
    from gatework.cli import comparing

    comparing.compare(chosen, parameters, wanted, out)


@app.command(
    epilog="Examples:\n\n"
    "gatework sweep notes.txt --search hidden_size=32..256:log --search lr=1e-4..1e-1:log\n\n"
    "gatework sweep loads.csv --task forecast --study loads --search cell=gru,lstm --trials 40"
)
@takes_task_options
def sweep(
    files: Files = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="A setting and what is tried of it: lr=1e-4..1e-2:log, hidden_size=32..256, or "
            "choices, cell=gru,lstm. Several times for several.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Runs of the study, with those it has.", min=1)] = 20,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A study to begin, or to go on with; also the folder under runs/.",
            show_default="a new one",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where Optuna keeps the study.",
            show_default="study.db in the folder",
        ),
    ] = None,
    cell: TrainedCell = None,
    hidden_size: HiddenSize = None,
    layers: Layers = None,
    embedding_size: EmbeddingSize = None,
    dropout: Dropout = None,
    time: Time = None,
    steps: Steps = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    window: Window = None,
    lr: Rate = None,
    bidirectional: Bidirectional = None,
    patience: Patience = None,
    device: Device = None,
    precision: Precision = None,
    tensorboard: TensorBoard = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the runs.", show_default="runs/<study>"),
    ] = None,
    *,
    asked: dict[str, Any],
) -> None:
    """Train many runs with settings that an Optuna study chooses.

    The budget is that of each run. What is made small is the cost of
    what was held out; runs that do worse than most are ended early. The
    same command goes on with a study that was interrupted, and several
    processes may share one.
    """
    settings = {
        "hidden_size": hidden_size,
        "layers": layers,
        "embedding_size": embedding_size,
        "dropout": dropout,
        "seconds": time,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "window": window,
        "learning_rate": lr,
        "bidirectional": bidirectional,
        "patience": patience,
        "device": device,
        "precision": precision,
        "tensorboard": tensorboard,
        "threads": threads,
        "files": files or None,
        **asked,
    }
    from gatework.cli import asked as checks
    from gatework.needed import needed
    from gatework.tasks.guessing import with_task

    needed("optuna", "sweep")
    checks.check_alone()
    wanted = with_task(checks.given({**checks.cell_settings_typed(cell), **settings}))
    checks.check_settings(wanted)
    from gatework.cli import sweeping

    sweeping.sweep(sweeping.search_typed(search or []), trials, study, storage, wanted, out)


@app.command(
    epilog="Examples:\n\n"
    "gatework data loads.csv\n\n"
    "gatework data watch.parquet --id recording --target activity --time-column when\n\n"
    "gatework data Vowels_TRAIN.ts"
)
@takes_task_options
def data(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Tables (csv, parquet), JSON lines, npy, npz, .ts, or texts."
        ),
    ],
    *,
    asked: dict[str, Any],
) -> None:
    """Show what would be learned from files, before anything is trained.

    The task, the columns and what each is for, times and their gaps, a
    curve; and what to write to have it otherwise.
    """
    from gatework.cli import asked as checks
    from gatework.tasks.guessing import with_task

    known = with_task({**asked, "files": files})
    checks.check_settings(known)
    from gatework.cli import showing_data

    showing_data.show_data(files, known["task"], asked)


@app.command(
    epilog="Examples:\n\n"
    "gatework bench\n\n"
    "gatework bench --all --inference --json bench.json\n\n"
    "gatework bench --cell peephole_lstm,mgu --shapes 16,100,256,256 1,100,64,128\n\n"
    "gatework bench --cell my_cells.py:latch --cell lstm\n\n"
    "gatework bench --stream --threads 1\n\n"
    "gatework bench --device cuda --precision bf16,fp32"
)
def bench(
    more_shapes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[B,T,I,H]", help="More of --shapes.", show_default=False),
    ] = None,
    cells: Annotated[list[str] | None, cells_option("lstm,gru,rnn")] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="B,T,I,H ...",
            help="Sequences, steps, input features and hidden units; several may follow.",
            show_default="three of --all",
        ),
    ] = None,
    all_shapes: Annotated[
        bool, typer.Option("--all", help="Seven shapes, from one sequence to large batches.")
    ] = False,
    inference: Annotated[
        bool, typer.Option("--inference", help="Only forward, without gradients.")
    ] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Only forward and backward, to every gradient.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Only single steps, the state held in between.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads of everyone.", show_default="as torch has it")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Time for each line, all together.", show_default="1; on a card 0.2, each way"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or a card: cuda, cuda:1.")] = "cpu",
    precision: Annotated[
        str | None,
        typer.Option(help="On a card: fp32, tf32, bf16, fp16.", show_default="all four"),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also write every figure to this file.")
    ] = None,
) -> None:
    """Time layers beside torch.nn, ONNX Runtime, a Python loop, torchrecurrent and JAX.

    All get the same float32 weights and input. Everyone's outputs and
    gradients are compared with float64 before anything is timed; a line
    in which someone computes something else is not timed, and the exit
    code is then 1.

    They take turns, so that what else the machine does falls on all.
    Times are medians with quartiles; beside each of the others stands
    how many times ours it takes. The share is of the multiply-adds
    that this processor can do at most; with one sequence, of the
    bytes that it can read from its caches.

    Options may be combined: --train --stream measures both. Without
    one of them, inference and training are measured, which takes about
    a minute on a machine that does nothing else. What is not installed
    is named: pip install onnxruntime onnx brings ONNX Runtime.

    With --device cuda it is measured on a card, in several precisions,
    called from Python and as replays of CUDA graphs, without streams.
    Unless --shapes gives others it has six shapes and five minutes.
    """
    from gatework.bench.shapes import parse_shapes
    from gatework.cli import asked
    from gatework.cli.typed_cells import cells_typed

    chosen = cells_typed(cells or ["lstm,gru,rnn"])
    asked.check_out("--json", json)
    sizes = parse_shapes([*(shapes or []), *(more_shapes or [])])
    asked.check_card(device, precision, threads, all_shapes=all_shapes, stream=stream)
    kinds = {"inference": inference, "training": train, "streaming": stream}
    if device != "cpu":
        from gatework.cli import gpu_benching

        per_line = 0.2 if seconds is None else seconds
        gpu_benching.bench(chosen, sizes, kinds, device, precision or "", per_line, json)
        return
    from gatework.cli import benching

    benching.bench(
        chosen,
        [*(shapes or []), *(more_shapes or [])],
        kinds,
        threads,
        1.0 if seconds is None else seconds,
        json,
        everything=all_shapes,
    )


@app.command(
    epilog="Examples:\n\n"
    "gatework inspect runs/mine\n\n"
    "gatework inspect comparison --figures\n\n"
    "gatework inspect model.py:make --weights w.safetensors --data new.parquet"
)
@takes_column_options
def inspect(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder, or one that gatework compare made; or FILE.py:FUNCTION, which "
            "makes any torch model with recurrent layers.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The page.", show_default="inspection.html in the folder"
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write every measurement, as data, SVG and PNG.")
    ] = False,
    last: Last = False,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of FUNCTION's model: safetensors, or a state_dict that torch.save wrote.",
            show_default="those that it makes",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="What that model is called on: new rows of numbers."),
    ] = None,
    *,
    asked: dict[str, Any],
) -> None:
    """Measure what a trained network remembers and what its units know, on one page.

    What it reads with its gates, how far back it remembers, how
    gradients flow, how gates are used, which units follow what: in words
    and in figures. The page is one file that needs no network.
    """
    from gatework.cli import asked as checks

    checks.check_out("--out", out)
    if checks.check_looked_at(run, weights, data or [], asked):
        from gatework.cli import inspecting

        inspecting.inspect_model(run, weights, data or [], asked, out, figures)
    else:
        checks.check_runs(Path(run))
        from gatework.cli import inspecting

        inspecting.inspect(Path(run), out, figures, last)


@app.command(epilog="Examples:\n\ngatework studio runs/mine\n\ngatework studio comparison")
def studio(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder, or one that gatework compare made."),
    ],
    port: Annotated[int, typer.Option(help="Where to serve it; 0 for any free port.")] = 8407,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    last: Last = False,
) -> None:
    """Watch a trained network read: every gate, step by step, on a page of this machine.

    Type or paste a text, hold gates with sliders, click a unit to see
    where else it fires, and see RNN, LSTM and GRU read the same text.
    Needs two packages more: pip install starlette uvicorn.
    """
    from gatework.cli import asked

    asked.check_studio(port)
    asked.check_runs(run)
    from gatework.cli import studying

    studying.study(run, port, browser, last)


@app.command(
    epilog="Examples:\n\n"
    "gatework cells\n\n"
    "gatework cells layer norm\n\n"
    'gatework cells "state space" 2024\n\n'
    "gatework cells --family scan"
)
def cells(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORD",
            help="Show the cells with all of these words: in the name, the documentation, "
            "authors, year, states, gates, inputs or family.",
            show_default="all cells",
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this family, such as lstm or scan."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also write what is known to this file.")
    ] = None,
) -> None:
    """List the catalogue by families, or look for cells in it.

    In a pipe each cell is one line: its name, family, states and what
    it is.
    """
    from gatework.cli import listing

    listing.show_cells(words or [], family, json)


@app.command(
    epilog="Examples:\n\n"
    "gatework explain gru\n\n"
    "gatework explain lstm --svg lstm.svg\n\n"
    "gatework explain my_cells.py:latch"
)
def explain(
    cell: Annotated[str, typer.Argument(metavar="CELL", help=CELL_HELP)],
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw its data flow: gates, maps, memory."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the backward equations, the plan and the cost.")
    ] = False,
) -> None:
    """Print a cell's equations."""
    from gatework.cli import explaining

    explaining.explain_cell(cell, svg, everything)
