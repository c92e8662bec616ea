"""What people come for, measured beside others: batches of labels, probabilities, strangers."""

import pathlib
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent.parent / "benchmarks"))
    yield
    for name in [name for name in sys.modules if name.startswith(("choosing", "probabilities", "strangers"))]:
        del sys.modules[name]


def test_batches_of_labels_are_chosen_beside_those_that_are_there():
    from choosing import by_last_layer, run, ways
    from choosing_tables import Table, fried

    table = Table.of(*fried(2_500), pool=400, seed=0)
    assert abs(float(table.x.mean())) < 1e-5
    assert [len(pair[0]) for pair in (table.valid, table.test)] == [1024, 1076]
    seen = []

    def watched(net, table, labelled, size, seed):
        seen.append(list(labelled))
        return by_last_layer(net, table, labelled, size, seed)

    error, seconds = run(table, watched, seed=0, batches=2, size=8, width=8)
    assert np.isfinite(error)
    assert seconds >= 0
    assert [len(labels) for labels in seen] == [256, 264]
    assert len(set(seen[1])) == 264
    assert {"random", "LCMD, last layer", "LCMD, 512 sketched"} <= set(ways())


def test_probabilities_are_judged_on_points_that_no_way_has_seen():
    from probabilities import row, table, ways
    from strangers_networks import Images, lenet

    torch.manual_seed(0)
    net, x, y = lenet().eval(), torch.rand(60, 1, 28, 28), torch.arange(60) % 10
    images, held, test = Images(x[:20], y[:20]), Images(x[20:40], y[20:40]), Images(x[40:], y[40:])
    every = {name: way for name, way in ways(10, 4, 5).items() if "laplace" not in name}
    found = [row(name, way, net, images, held, test, 1 - x[:20]) for name, way in every.items()]
    assert all(np.isfinite(one.values).all() for one in found)
    softmax = torch.softmax(net(test.x).detach().double(), 1)
    assert found[0].values[0] == pytest.approx(-float(softmax[torch.arange(20), test.y].log().mean()), rel=1e-6)
    assert table(found, "").row_count == len(every)


def test_strangers_are_scored_within_the_memory_that_was_allowed():
    from strangers import rows, sketched, slu
    from strangers_networks import lenet, turned

    import dntk

    torch.manual_seed(0)
    net, x = lenet().eval(), torch.rand(24, 1, 28, 28)
    torch.testing.assert_close(turned(x, 90.0), torch.rot90(x, 1, (2, 3)), atol=1e-5, rtol=0)
    found = list(rows(net, x[:12], x[12:], [1 - x[12:], turned(x[12:], 45.0)], {1: (2048, 1024)}))
    assert all(row.numbers <= 44_426 for row in found)
    assert all(0 <= row.digits <= 1 for row in found)
    assert len({row.score for row in found}) == len(found) == 9
    phi = {1024: dntk.tangent_features(dntk.as_model(net), x, sketch=sketched(1024))}
    left = slu(net, x[:12], 1023, 1024)(None, phi)
    assert torch.all(left < 0.02 * (phi[1024].values ** 2).sum((0, 2)))
