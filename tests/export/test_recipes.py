"""Other doors out, as docs/export.md has them: packages of torch's own compiler."""

import shutil

import pytest
import torch
from torch import nn

import gatework as gw

COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="AOTInductor builds with a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_a_package_of_a_model_with_torchs_layers_needs_no_gatework(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), gw.nn.GRU(4, 5, batch_first=True))
    x = torch.randn(2, 6, 3)
    with torch.no_grad():
        program = torch.export.export(gw.to_torch(model).eval(), (x,))
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=str(tmp_path / "model.pt2")
        )
        assert "gatework" not in str(program.graph)
        output, state = torch._inductor.aoti_load_package(package)(x)
        wanted, final = model.eval()(x)
    torch.testing.assert_close(output, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, final, atol=1e-5, rtol=1e-5)


def test_an_exported_program_of_our_layers_is_saved_and_loaded(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), gw.nn.Recurrent(gw.cells.mgu, 4, 5))
    x = torch.randn(6, 2, 3)
    with torch.no_grad():
        torch.export.save(torch.export.export(model.eval(), (x,)), tmp_path / "model.pt2")
        loaded = torch.export.load(tmp_path / "model.pt2").module()
        for one, other in zip(loaded(x), model(x), strict=True):
            torch.testing.assert_close(one, other)
