"""The benchmark of public architectures tells of a network what the table says, and finds gradients that are wrong."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).parents[1] / "benchmarks"


class Small(torch.nn.Module):
    """A convolution, a batch norm, and rows without a rule."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
        self.matrix, self.head = torch.nn.Parameter(torch.randn(4, 4)), torch.nn.Linear(4, 10)

    def forward(self, x):
        hidden = torch.relu(self.norm(self.convolution(x))).mean((2, 3))
        return self.head(torch.tanh(torch.einsum("ni,ij->nj", hidden, self.matrix)))


@pytest.fixture
def child(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import architectures_child

    monkeypatch.setattr(architectures_child, "SECONDS", 0.0)
    return architectures_child


def small(child):
    return child.Architecture(
        library="none", make=Small, inputs=lambda n: torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    )


def test_a_small_network_has_its_row_in_the_table(child):
    import architectures_report

    found = child.measured(small(child))
    assert found["parameters"] == 3 * 4 * 9 + 4 + 8 + 16 + 50
    assert found["share"] == 1 - 16 / found["parameters"]
    assert [name for name, _ in found["per_input"]] == ["matrix"]
    assert not found["moves_rows"]
    assert max(found["error"], found["autograd_error"]) < 1e-5
    assert min(found["seconds"], found["floor_seconds"]) > 0
    page = architectures_report.page({"Small": json.loads(json.dumps(found))}, ["Small", "Missing"])
    assert "| Small | none | 186 | 91.40% |" in page
    assert "- Small: 1 of 7 (`matrix`), because no rule tells" in page
    assert "- Missing: no run yet" in page


def test_a_kernel_that_is_wrong_is_an_error_in_the_table(child, monkeypatch):
    right = child.dntk.ntk
    monkeypatch.setattr(child.dntk, "ntk", lambda model, x: right(model, x) * 1.001)
    found = child.measured(small(child))
    assert found["error"] == pytest.approx(1e-3, rel=1e-2)
    assert found["autograd_error"] < 1e-5


@pytest.mark.usefixtures("child")
def test_the_table_in_the_documentation_is_that_of_the_results():
    import architectures_networks
    import architectures_report

    results = json.loads((FOLDER / "results" / "architectures.json").read_text())
    expected = architectures_report.page(results, architectures_networks.ARCHITECTURES)
    assert (FOLDER.parent / "docs" / "architectures.md").read_text() == expected


def test_a_public_architecture_runs(child):
    pytest.importorskip("transformers")
    found = child.measured(child.ARCHITECTURES["BERT"])
    assert found["share"] == 1
    assert found["error"] < 1e-5
