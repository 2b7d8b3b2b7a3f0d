"""What several tests of layers ask for."""

import pytest

from gatework.backends.cpu import compiled


@pytest.fixture
def loaded(monkeypatch):
    """The modules that are compiled, or loaded as compiled before, inside a test."""
    modules, before = [], compiled.compile_object

    def counted(ir, target):
        modules.append(ir)
        return before(ir, target)

    monkeypatch.setattr(compiled, "compile_object", counted)
    return modules
