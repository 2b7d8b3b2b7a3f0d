"""Every test of this folder runs machine code as users do."""

import pytest


@pytest.fixture(autouse=True)
def _as_users_run_it(optimised):
    """Optimised by LLVM; the tests of other folders run it as it was written."""
