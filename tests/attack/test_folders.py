"""Damaged and hostile run folders: every kind of damage meets every use."""

import pytest

from attack.folders import DAMAGES, USES, attack

ONCE = len(DAMAGES) * len(USES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ONCE))
def test_a_damaged_folder_ends_a_command_in_good_order(seed):
    attack(seed)
