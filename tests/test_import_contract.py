"""The import contract of pyproject.toml: the package keeps it, and each kind of arrow that it forbids breaks it."""

import copy
import pathlib

import pytest

grimp = pytest.importorskip("grimp")
api = pytest.importorskip("importlinter.api")

from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract  # noqa: E402
from importlinter.contracts.forbidden import ForbiddenContract  # noqa: E402
from importlinter.contracts.layers import LayersContract  # noqa: E402

KINDS = {"layers": LayersContract, "acyclic_siblings": AcyclicSiblingsContract, "forbidden": ForbiddenContract}
READ = api.read_configuration(str(pathlib.Path(__file__).parent.parent / "pyproject.toml"))


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(*READ["session_options"]["root_packages"], include_external_packages=True, cache_dir=None)


def broken(graph):
    """Names of the contracts that a graph of imports breaks."""
    contracts = [
        KINDS[options["type"]](options["name"], READ["session_options"], options)
        for options in READ["contracts_options"]
    ]
    return [contract.name for contract in contracts if not contract.check(copy.deepcopy(graph), verbose=False).kept]


def with_import(graph, importer, imported):
    changed = copy.deepcopy(graph)
    changed.add_import(importer=importer, imported=imported)
    return changed


def test_the_package_keeps_every_contract(graph):
    assert broken(graph) == []


@pytest.mark.parametrize(
    ("importer", "imported", "words"),
    [
        ("dntk.kernels.operator", "dntk.solve.path", "an import only goes down"),
        ("dntk.arrays", "dntk.cli", "an import only goes down"),
        ("dntk.sketch.plan", "dntk.sketch.choice", "No circles"),
        ("dntk_torch.probe", "dntk_torch.model", "No circles"),
        ("dntk.backend.standard", "dntk_numpy.backend", "Studies stand on the backends"),
        ("dntk_torch.model", "dntk_studies.networks.plan", "Studies stand on the backends"),
        ("dntk_torch.model", "dntk_jax.model", "Studies stand on the backends"),
        ("dntk.features", "torch", "no framework"),
        ("dntk.features", "matplotlib", "Pictures"),
    ],
)
def test_an_arrow_that_is_forbidden_breaks_its_contract(graph, importer, imported, words):
    assert importer in graph.modules
    assert any(words in name for name in broken(with_import(graph, importer, imported)))


def test_a_room_without_a_floor_breaks_the_contract(graph):
    changed = copy.deepcopy(graph)
    changed.add_module("dntk.attic")
    assert any("every new room" in name for name in broken(changed))
