"""The form `group`: how it is divided, what fits, and that the rule chooses well."""

import pytest

from gatework.backends.gpu.configurations import (
    Configuration,
    Demand,
    Products,
    candidates,
    divides,
    fit,
)

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


@pytest.mark.parametrize("units", [1, 16, 300, 1024])
@pytest.mark.parametrize("batch", [1, 9, 64])
def test_every_candidate_holds_all_units_and_sequences(units, batch):
    asked = demand(units, batch)
    found = candidates(asked, Hopper)
    assert found
    for c in found:
        assert divides(c, asked)
        assert c.padded >= units
        assert c.groups * c.octets * 8 >= batch
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


def test_weights_that_fit_nowhere():
    assert candidates(demand(units=4096), Hopper) == []
    assert fit(Configuration(132, 1, 8, 4, 1, "grid"), demand(4096, element=4), SHARED) is None
