"""The form `group`: how it is divided, what fits, and that the rule chooses well."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest

from gatework.backends.gpu import group
from gatework.backends.gpu.choosing import candidates, step_time
from gatework.backends.gpu.configurations import (
    Configuration,
    Demand,
    Products,
    divides,
    fit,
)
from gatework.backends.gpu.group.asking import ask
from gatework.backends.gpu.loop import Setting
from gatework.cells import catalogue
from gatework.compiler.program import program
from gatework.compiler.stepping import aliases_of
from gatework.lang.sizes import Sizes

SHARED = 227 * 1024


class Hopper:
    """What the rule asks of a card."""

    architecture, processors, shared, clusters = "sm_90a", 132, SHARED, True


LSTM = (Products(4, 1),)


def demand(units=512, batch=16, element=2, stages=LSTM, **other):
    return Demand(units, batch, element, stages, **other)


def test_the_weights_of_a_group_are_divided_without_loss():
    asked = demand()
    for c in candidates(asked, Hopper):
        found = fit(c, asked, SHARED)
        weights = c.blocks * c.tiles * c.warps * found.fragments * 512
        assert weights == 4 * c.padded * c.padded * 2
        assert found.kept <= found.fragments
        assert found.shared <= SHARED


@pytest.mark.parametrize("units", [1, 16, 96, 300, 1024])
@pytest.mark.parametrize("batch", [1, 9, 64])
def test_every_candidate_holds_all_units_and_sequences(units, batch):
    asked = demand(units, batch)
    found = candidates(asked, Hopper)
    assert found
    for c in found:
        assert divides(c)
        assert c.padded >= units
        assert c.groups * c.octets * 8 * c.rounds(batch) >= batch
        assert c.sequences(batch) <= c.octets * 8
        assert c.exchange == "cluster" or c.groups * c.blocks <= Hopper.processors


def test_partial_sums_are_sent_where_a_step_has_one_sum():
    back = demand(stages=(Products(1, 4),), first=False)
    assert any(c.scattered for c in candidates(back, Hopper))
    for other in (demand(), demand(stages=(Products(2, 4),), first=False)):
        assert not any(c.scattered for c in candidates(other, Hopper))


def test_a_card_without_clusters_has_the_grid():
    class Ampere(Hopper):
        processors, shared, clusters = 108, 163 * 1024, False

    found = candidates(demand(), Ampere)
    assert found
    assert {c.exchange for c in found} == {"grid"}


def test_chunks_in_flight_give_way_to_weights():
    """With eight in flight too few weights are in registers, and the rest fills shared memory."""
    wide = demand(1024, 64)
    found = fit(Configuration(64, 1, 8, 4, 2, "grid"), wide, SHARED)
    assert (found.flight, found.crowded) == (4, False)
    small = fit(Configuration(32, 1, 8, 1, 2, "grid"), demand(), SHARED)
    assert (small.flight, small.kept) == (2, small.fragments)


def test_a_crowded_thread_comes_last():
    """Sixteen warps leave too few registers for the sums of four octets."""
    asked = demand(1024, 64, stages=(Products(1, 4),), first=False)
    crowded = Configuration(64, 1, 16, 4, 2, "grid")
    assert fit(crowded, asked, SHARED).crowded
    found = candidates(asked, Hopper)
    flags = [fit(c, asked, SHARED).crowded for c in found]
    assert flags == sorted(flags)
    assert not flags[0]


def test_weights_that_fit_nowhere():
    assert candidates(demand(units=4096), Hopper) == []
    assert fit(Configuration(132, 1, 8, 4, 1, "grid"), demand(4096, element=4), SHARED) is None


# ---- the rule's choice, and what was measured ----------------------------------------------------


def lines():
    """The measurements, in the words of the file."""
    text = (Path(__file__).parent / "measured.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in text if not line.startswith("#")))


def configuration(line):
    numbers = (int(line[k]) for k in ("blocks", "tiles", "warps", "octets", "groups"))
    return Configuration(*numbers, line["exchange"], line["sent"] == "sums")


def measured():
    """Of every case, the shortest time of each configuration."""
    cases = defaultdict(dict)
    for line in lines():
        case = tuple(line[k] for k in ("kernel", "cell", "pass", "batch", "units", "element"))
        times, c = cases[case], configuration(line)
        times[c] = min(float(line["us"]), times.get(c, float("inf")))
    return cases


def asking(cell, direction, batch, units, element):
    """What a plan asks of a group, at a size."""
    plan = getattr(program(catalogue()[cell]), direction)
    sizes = Sizes.of({"1": 1, "input": int(units), "hidden": int(units)})
    return ask(plan, aliases_of(plan)), Setting(sizes, element, steps=64, batch=int(batch))


def chosen(*case):
    """The configuration that the form takes."""
    asked, setting = asking(*case)
    found = group.configurations(asked, setting, Hopper)
    return group.placed(asked, setting, Hopper, found).configuration


MEASURED = measured()
CHOSEN = {case: chosen(*case[1:]) for case in MEASURED}
JUDGED = [case for case in MEASURED if CHOSEN[case] in MEASURED[case]]


@pytest.mark.parametrize("case", JUDGED, ids="-".join)
def test_the_first_choice_is_within_a_tenth_of_the_best(case):
    times = MEASURED[case]
    assert times[CHOSEN[case]] <= 1.1 * min(times.values()), CHOSEN[case]


def test_most_choices_can_be_judged():
    """Of the others, the time of what is chosen is not known: where only the best of some was
    noted, or another number of groups was tried."""
    assert len(JUDGED) > len(MEASURED) / 2
    swept = {case for case in MEASURED if len(MEASURED[case]) > 1}
    assert len(swept.intersection(JUDGED)) > 30


def test_estimates_are_of_the_size_of_what_was_measured():
    ratios = []
    for case, times in MEASURED.items():
        asked = group.demand(*asking(*case[1:]))
        fitting = [c for c in times if fit(c, asked, SHARED)]
        ratios += [step_time(c, asked, SHARED) / times[c] for c in fitting]
    assert 0.8 < median(ratios) < 1.25
