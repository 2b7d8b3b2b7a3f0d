"""Two processes and one run folder."""

import subprocess
import sys

import pytest

from gatework.errors import InputError
from gatework.train.claim import claim

CLAIM = (
    "import sys, pathlib; from gatework.train.claim import claim; c = claim(pathlib.Path({!r})); {}"
)


def other(folder, then):
    """Another process, which claims a folder; it prints a line when it has."""
    code = CLAIM.format(str(folder), then)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_folder_is_free_when_the_other_process_is_killed(tmp_path):
    process = other(tmp_path, "print('has it', flush=True); sys.stdin.read()")
    assert process.stdout.readline() == "has it\n"
    with pytest.raises(InputError, match="another process trains in"):
        claim(tmp_path)
    process.kill()
    process.communicate()
    assert claim(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_process_may_claim_twice_and_leaves_it_free(tmp_path):
    first, again = claim(tmp_path), claim(tmp_path / ".")
    assert first is again
    del first, again
    assert claim(tmp_path)
