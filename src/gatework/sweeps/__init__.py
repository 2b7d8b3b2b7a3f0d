"""Many runs with settings that an Optuna study chooses."""

from gatework.sweeps.space import Choices, Range, space_of
from gatework.sweeps.sweeping import Sweep, SweepTrial, sweep

__all__ = ["Choices", "Range", "Sweep", "SweepTrial", "space_of", "sweep"]
