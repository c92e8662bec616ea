"""Networks that move rows by what is in their data: routing, packing, sorting."""

import pytest
import torch
from torch import nn

import dntk
from dntk_torch import _placing
from dntk_torch._watching import Rows, _traced, rows_of
from tests.test_torch_model import assembled, looped_jacobian, relative
from tests.torch_networks import NETWORKS, batch, network, one_thread

# PyTorch announces that it pads even kernels unevenly, and that nested tensors are new.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Sorted(nn.Module):
    """A batch sorted by its first feature, and put back in order."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        order = x[:, 0].argsort()
        return self.head(torch.tanh(self.layer(x[order]))[order.argsort()])


class Bucketed(Sorted):
    """Longer inputs first, by Python."""

    def forward(self, x):
        order = sorted(range(x.shape[0]), key=x.abs().sum(1).tolist().__getitem__)
        back = sorted(range(x.shape[0]), key=order.__getitem__)
        hidden = torch.tanh(self.layer(torch.stack([x[i] for i in order])))
        return self.head(torch.stack([hidden[i] for i in back]))


class Ranked(Sorted):
    """Sorted by a product with the matrix of the permutation, made of comparisons alone."""

    def forward(self, x):
        rank = (x[:, :1] > x[:, 0]).sum(1)
        order = (torch.arange(x.shape[0])[:, None] == rank).to(x.dtype)
        return self.head(order.T @ torch.tanh(self.layer(order @ x)))


class Multiplied(Sorted):
    """The same without a product of matrices: entry times entry, and summed."""

    def forward(self, x):
        rank = (x[:, :1] > x[:, 0]).sum(1)
        order = (torch.arange(x.shape[0])[:, None] == rank).to(x.dtype)
        hidden = torch.tanh(self.layer((order[:, :, None] * x[None]).sum(1)))
        return self.head((order.T[:, :, None] * hidden[None]).sum(1))


class Chosen(Sorted):
    """The same by a choice between rows and zeros."""

    def forward(self, x):
        rank = (x[:, :1] > x[:, 0]).sum(1)
        order = torch.arange(x.shape[0])[:, None] == rank
        hidden = torch.tanh(self.layer(torch.where(order[:, :, None], x[None], 0).sum(1)))
        return self.head(torch.where(order.T[:, :, None], hidden[None], 0).sum(1))


class Signed(Sorted):
    """Sorted by a matrix that is made without any comparison."""

    def forward(self, x):
        rank = (torch.sign(x[:, :1] - x[:, 0]).sum(1) + x.shape[0] - 1) / 2
        order = torch.relu(1 - (torch.arange(x.shape[0])[:, None] - rank).abs())
        return self.head(order.T @ torch.tanh(self.layer(order @ x)))


class Packed(nn.Module):
    """Tokens without their padding, all of the batch in one sequence."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 5, padding_idx=0)
        self.layer, self.norm, self.head = nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, ids):
        kept = ids != 0
        tokens = torch.tanh(self.norm(self.layer(self.table(ids[kept]))))
        owner = kept.nonzero()[:, 0]
        return self.head(torch.zeros(ids.shape[0], 6, dtype=tokens.dtype).index_add(0, owner, tokens))


class Ragged(nn.Module):
    """Texts of several lengths one behind the other, which Python cuts apart again."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 5, padding_idx=0)
        self.layer, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def lengths(self, ids):
        return (ids != 0).sum(1).clamp(min=1)

    def forward(self, ids):
        lengths = self.lengths(ids).tolist()
        flat = torch.cat([row[:length] for row, length in zip(self.table(ids), lengths, strict=True)])
        return self.head(torch.stack([rows.sum(0) for rows in torch.tanh(self.layer(flat)).split(lengths)]))


class PackedSequence(Ragged):
    """The same by PyTorch's packed sequences: all first tokens, longest texts first, then all second ones."""

    def forward(self, ids):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.table(ids), self.lengths(ids), batch_first=True, enforce_sorted=False
        )
        hidden = packed._replace(data=torch.tanh(self.layer(packed.data)))
        return self.head(nn.utils.rnn.pad_packed_sequence(hidden, batch_first=True)[0].sum(1))


class Nested(Ragged):
    """The same by nested tensors, of which no rule tells gradients."""

    layout = torch.strided

    def forward(self, ids):
        rows = [row[:length] for row, length in zip(self.table(ids), self.lengths(ids).tolist(), strict=True)]
        nested = torch.nested.as_nested_tensor(rows, layout=self.layout)
        return self.head(torch.nested.to_padded_tensor(torch.relu(self.layer(nested)), 0.0).sum(1))


class Jagged(Nested):
    """The same in PyTorch's newer layout."""

    layout = torch.jagged


class Experts(nn.Module):
    """Tokens that go to their best experts, each of which sees those of all inputs together."""

    def __init__(self, best):
        super().__init__()
        self.best = best
        self.router = nn.Linear(5, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 5)) for _ in range(3))
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        tokens = x.flatten(0, 1)
        shares, chosen = self.router(tokens).softmax(1).topk(self.best, dim=1)
        out = torch.zeros_like(tokens)
        for index, expert in enumerate(self.experts):
            row, place = torch.where(chosen == index)
            out = out.index_add(0, row, shares[row, place, None] * expert(tokens[row]))
        return self.head(torch.tanh(out.reshape(x.shape)).mean(1))


class Dispatched(Experts):
    """The same by products with masks of a capacity that drops later tokens of each input."""

    def forward(self, x):
        probabilities = self.router(x).softmax(2)
        mask = nn.functional.one_hot(probabilities.argmax(2), 3).to(x.dtype)
        place = (mask.cumsum(1) - 1) * mask
        mask = mask * (place < 2)  # two tokens of each input for every expert
        slots = mask[..., None] * nn.functional.one_hot(place.long().clamp(max=1), 2).to(x.dtype)
        out = 0
        for index, expert in enumerate(self.experts):
            sent = torch.einsum("ntk,ntd->knd", slots[:, :, index], x)
            back = torch.einsum("ntk,knd->ntd", slots[:, :, index], expert(sent.flatten(0, 1)).reshape(sent.shape))
            out = out + back * probabilities[..., index, None]
        return self.head(torch.tanh(out).mean(1))


class Grouped(nn.Module):
    """The same by a product of rows in groups with matrices of one parameter, as in libraries for language models."""

    def __init__(self):
        super().__init__()
        self.first, self.router, self.head = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 2)
        self.matrices = nn.Parameter(torch.randn(3, 8, 8))

    def forward(self, x):
        tokens = torch.tanh(self.first(x.flatten(0, 1)))
        shares, chosen = self.router(tokens).softmax(1).max(1)
        order = chosen.argsort()
        ends = torch.bincount(chosen, minlength=3).cumsum(0).to(torch.int32)
        if x.dtype == torch.float64:  # of the reference, which PyTorch's product does not take
            found = torch.einsum("rij,rj->ri", self.matrices[chosen], tokens)
        else:
            found = torch._grouped_mm(tokens[order], self.matrices.mT, offs=ends)[order.argsort()]
        return self.head(torch.tanh(found * shares[:, None]).reshape(*x.shape[:2], 8).mean(1))


class Tiled(nn.Module):
    """A table that is repeated for every input of a sorted batch, of whose rows some have no gradient."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(4, 1)), nn.Linear(4, 2)

    def forward(self, x):
        order = x[:, 0, 0].argsort()
        rows = x[order, :, :1].flatten(0, 1) + self.table.repeat(x.shape[0], 1)
        return self.head(torch.relu(rows).reshape(x.shape[0], 4)[order.argsort()])


class Butterfly(nn.Module):
    """A layer that sees sums and differences of two inputs, from which its answers to each are recovered."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(5, 6, bias=False), nn.Linear(6, 3)

    def forward(self, x):
        order = x[:, 0].argsort()
        padded = torch.cat([x[order], x.new_zeros(x.shape[0] % 2, 5)])
        one, other = padded[0::2], padded[1::2]
        total, rest = self.layer(one + other), self.layer(one - other)
        both = torch.stack([(total + rest) / 2, (total - rest) / 2], 1).flatten(0, 1)
        return self.head(torch.tanh(both[: x.shape[0]])[order.argsort()])


def ids(n, generator):
    return torch.randint(0, 9, (n, 6), generator=generator) * (torch.rand(n, 6, generator=generator) < 0.6)


def texts(n, generator):
    lengths = torch.randint(1, 7, (n, 1), generator=generator)
    return torch.randint(1, 9, (n, 6), generator=generator) * (torch.arange(6) < lengths)


def rows(n, generator):
    return torch.randn(n, 5, generator=generator)


def positions(n, generator):
    return torch.randn(n, 4, 5, generator=generator)


CASES = {
    "sorted": (Sorted, rows),
    "bucketed": (Bucketed, rows),
    "ranked": (Ranked, rows),
    "multiplied": (Multiplied, rows),
    "chosen": (Chosen, rows),
    "signed": (Signed, rows),
    "packed": (Packed, ids),
    "ragged": (Ragged, texts),
    "packed-sequence": (PackedSequence, texts),
    "nested": (Nested, texts),
    "jagged": (Jagged, texts),
    "best-expert": (lambda: Experts(1), positions),
    "two-best-experts": (lambda: Experts(2), positions),
    "capacity": (lambda: Dispatched(1), positions),
    "grouped-experts": (Grouped, positions),
    "tiled": (Tiled, positions),
    "butterfly": (Butterfly, rows),
}
OWNED = [name for name in CASES if name not in ("tiled", "butterfly", "nested", "jagged")]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_exact_wherever_data_move_rows(name, seed):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    make, draw = CASES[name]
    net = make().eval()
    model = dntk.as_model(net)
    for n in (1, 2, 5, 8, 12):
        x = draw(n, generator)
        expected = looped_jacobian(net, list(model.parameters), x)
        found = assembled(model, x, torch.eye(model(x).shape[1]))
        assert relative(found, expected) < 1e-5
        one = assembled(model, x, torch.eye(model.n_outputs)[:1])
        assert relative(one, expected[:1]) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_a_first_batch_that_is_in_order_does_not_hide_that_data_move_rows(name):
    # What the probe sees is already sorted, goes to one expert, has no padding: all layouts hold there.
    generator = torch.Generator().manual_seed(4)
    torch.manual_seed(4)
    make, draw = CASES[name]
    net = make().eval()
    model, first = dntk.as_model(net), draw(8, generator)
    first = first[first.flatten(1)[:, 0].argsort()] if first.is_floating_point() else first.clamp(min=1)
    if first.ndim == 3:
        first = first[:1, :1].expand(8, 4, 5).contiguous() * (1 + 1e-3 * torch.arange(8.0)[:, None, None])
    x = draw(8, generator)
    assembled(model, first, torch.eye(model(first).shape[1]))
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(model.n_outputs)), expected) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_networks_that_move_rows_by_data_are_told(name):
    make, draw = CASES[name]
    assert rows_of(make().eval(), draw(4, torch.Generator().manual_seed(0))).moved


def test_a_product_with_comparisons_moves_rows_also_where_one_input_shows_none():
    assert rows_of(Ranked().eval(), rows(1, torch.Generator().manual_seed(0))).moved


def test_functionals_of_fewer_bits_than_the_network_take_no_passes_of_their_own(monkeypatch):
    torch.manual_seed(5)
    net, x = Sorted().eval().double(), rows(8, torch.Generator().manual_seed(5)).double()
    monkeypatch.setattr("dntk_torch._blocks.by_loop", lambda *_: pytest.fail("gradients input by input"))
    model = dntk.as_model(net)
    assembled(model, x, torch.eye(3))


@pytest.mark.parametrize("name", NETWORKS)
def test_other_networks_pay_nothing(name):
    assert rows_of(network(name), batch(name)[:4]) == Rows(False)


class LastToken(Packed):
    """Answers at the last token that is no padding, as language models that classify do."""

    def hidden(self, ids):
        return torch.tanh(self.norm(self.layer(self.table(ids))))

    def last(self, ids):
        return (torch.arange(ids.shape[1]) * (ids != 0)).argmax(-1)

    def forward(self, ids):
        return self.head(self.hidden(ids)[torch.arange(ids.shape[0]), self.last(ids)])


@pytest.mark.parametrize("n", [3, 4])
def test_a_place_that_is_looked_up_in_every_input_costs_nothing(n):
    torch.manual_seed(7)
    net, generator = LastToken().eval(), torch.Generator().manual_seed(7)
    assert rows_of(net, ids(n, generator)) == Rows(False)
    model = dntk.as_model(net)
    for x in (ids(12, generator), ids(n, generator), ids(1, generator), torch.zeros(3, 6, dtype=torch.int64)):
        expected = looped_jacobian(net, list(model.parameters), x)
        assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5


LOOKED_UP = {
    "other inputs": lambda own, ids, hidden: hidden[own.last(ids) % ids.shape[0], torch.arange(ids.shape[0])],
    "a place of all inputs": lambda _, ids, hidden: hidden[torch.arange(ids.shape[0]), hidden.argmax(0)[0, :4]],
    "such a place behind another axis": lambda _, ids, hidden: hidden[
        torch.arange(ids.shape[0]), hidden.movedim(0, 1).argmax(1)[0, :4]
    ],
    "the inputs' greatest": lambda _, ids, hidden: hidden[torch.arange(ids.shape[0]), hidden.argmax() % 6],
    "first axis of other size": lambda own, ids, hidden: hidden.flatten(0, 1)[own.last(ids)],
    "a table of inputs": lambda own, ids, hidden: nn.functional.embedding(own.last(ids) % 4, hidden[:, 0]),
    "every input behind another axis": lambda own, ids, hidden: hidden.mT[..., :4].mT[
        torch.arange(ids.shape[0]), own.last(ids) % 4
    ],
}


@pytest.mark.parametrize("way", LOOKED_UP)
def test_other_look_ups_may_move_rows(way):
    class Net(LastToken):
        def forward(self, ids):
            return self.head(LOOKED_UP[way](self, ids, self.hidden(ids)))

    # Whether or not rows that are not reversed would tell, too.
    assert _traced(Net().eval(), ids(4, torch.Generator().manual_seed(0))).moved


class Masked(Packed):
    """Asks whether any token is missing, as models of texts do, and goes another way where none is."""

    def seen(self, ids):
        return ids != 0

    def forward(self, ids):
        tokens = torch.tanh(self.norm(self.layer(self.table(ids))))
        if not bool(self.seen(ids).all()):
            tokens = tokens * self.seen(ids)[..., None]
        return self.head(tokens.mean(1))


def test_a_number_that_python_read_on_the_first_call_too_costs_nothing(monkeypatch):
    torch.manual_seed(7)
    net, generator = Masked().eval(), torch.Generator().manual_seed(7)
    model, first = dntk.as_model(net), ids(8, generator)
    assert rows_of(net, first[:4]) == Rows(False, read=((bool, False),))
    assembled(model, first, torch.eye(3))
    monkeypatch.setattr("dntk_torch._blocks.witnessed", lambda *_: pytest.fail("rows compared"))
    for x in (ids(12, generator), ids(5, generator)):
        expected = looped_jacobian(net, list(model.parameters), x)
        assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5


def test_another_number_read_is_another_network(monkeypatch):
    torch.manual_seed(7)
    net, generator = Masked().eval(), torch.Generator().manual_seed(7)
    model, compared = dntk.as_model(net), []
    assembled(model, ids(8, generator), torch.eye(3))
    monkeypatch.setattr(
        "dntk_torch._blocks.witnessed", lambda *given: compared.append(given) or _placing.witnessed(*given)
    )
    x = ids(8, generator).clamp(min=1)
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5
    assert len(compared) == 1


WAYS_OUT = {
    "equal": lambda x: torch.equal(x, x.abs()),
    "close": lambda x: torch.allclose(x, x.abs()),
    "list": lambda x: x[:, 0].tolist(),
    "array": lambda x: x.numpy(),
    "in": lambda x: 0.5 in x,
    "text": lambda x: f"{x.sum():.3f}",
    "place": lambda x: x[x.argmax(1).sum() % 2],
    "end": lambda x: x[:, : (x > 0).sum() % 3],
    "size": lambda x: torch.zeros((x > 0).sum()),
    "repeats": lambda x: torch.arange(4).repeat_interleave((x > 0).sum(1)),
    "what does not run": lambda x: x.untyped_storage().no_such_name,
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_numbers_that_leave_by_other_ways_may_move_rows(way):
    class Net(Placed):
        def forward(self, x):
            WAYS_OUT[way](x)
            return self.head(x)

    assert rows_of(Net().eval(), rows(4, torch.Generator().manual_seed(0))) == Rows(True)


@pytest.mark.parametrize("read", [bool, float, int, lambda x: x.item(), torch.is_nonzero, range(9).__getitem__])
def test_numbers_that_are_read_one_by_one_are_known(read):
    class Net(Placed):
        def forward(self, x):
            read((x > 9).sum())
            return self.head(x)

    found = rows_of(Net().eval(), rows(4, torch.Generator().manual_seed(0)))
    assert not found.moved
    assert len(found.read) == 1
    assert found.read[0][1] == 0


def test_reads_that_differ_where_inputs_are_reversed_may_move_rows():
    class Net(Placed):
        def forward(self, x):
            first, last = x.flatten()[0], x.flatten()[-x.shape[1]]  # not the rows themselves, which are compared
            return self.head(x * 1.0) if first > last else self.head(x + 0.0)

    assert rows_of(Net().eval(), rows(4, torch.Generator().manual_seed(0))).moved


LOOK_UPS = {
    "spread": (lambda x: x[torch.arange(x.shape[0])[:, None], torch.arange(3) + 0], False),
    "by number": (lambda x: x[torch.arange(x.shape[0])], False),
    "backward": (lambda x: x[torch.arange(x.shape[0] - 1, -1, -1)], True),
    "turned": (lambda x: x[torch.arange(x.shape[0]).flip(0)], True),
    "shuffled": (lambda x: x[torch.randperm(x.shape[0], generator=torch.Generator().manual_seed(1))], True),
    "one axis in order": (lambda x: x[torch.arange(x.shape[0]), torch.tensor([0, 0, 2, 1])], True),
    "by data": (lambda x: x[(x[:, 0] > 9).long() + torch.arange(x.shape[0])], True),
}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_look_ups_in_what_comes_from_the_inputs_are_none_at_numbers_in_order(name):
    look_up, moved = LOOK_UPS[name]

    class Net(Placed):
        def forward(self, x):
            return self.head(x) + 0 * look_up(x).reshape(x.shape[0], -1)[:, :1]

    assert rows_of(Net().eval(), rows(4, torch.Generator().manual_seed(0))).moved == moved


@pytest.mark.parametrize(("outputs", "passes"), [(1, 2), (3, 5)])
def test_the_pass_of_an_only_functional_is_made_once(outputs, passes, monkeypatch):
    torch.manual_seed(8)
    net, generator = Sorted().eval(), torch.Generator().manual_seed(8)
    model, x = dntk.as_model(net), rows(8, generator)
    x = x[x[:, 0].argsort()]
    assembled(model, x, torch.eye(3)[:outputs])
    made, grad = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *given, **named: made.append(1) or grad(*given, **named))
    found = assembled(model, x, torch.eye(3)[:outputs])
    assert len(made) == passes
    monkeypatch.undo()
    assert relative(found, looped_jacobian(net, list(model.parameters), x)[:outputs]) < 1e-5


class Placed(nn.Module):
    """Looks up a table of its own at fixed places, as relative positions are."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(7, 5)), nn.Linear(5, 3)
        self.register_buffer("places", torch.tensor([0, 3, 6, 3]))

    def forward(self, x):
        return self.head(torch.tanh(x + self.table[self.places]).mean(1))


def test_look_ups_at_fixed_places_pay_nothing():
    assert rows_of(Placed().eval(), positions(4, torch.Generator().manual_seed(0))) == Rows(False)


class InTurn(Placed):
    """Positions first, and both axes joined: rows of one input are as many apart as there are inputs."""

    def forward(self, x):
        rows = torch.tanh(self.head(x.transpose(0, 1).flatten(0, 1)))
        return rows.unflatten(0, (x.shape[1], x.shape[0])).mean(0)


def test_rows_that_lie_in_turn_pay_nothing():
    generator = torch.Generator().manual_seed(0)
    assert rows_of(InTurn().eval(), torch.randn(4, 6, 5, generator=generator)) == Rows(False)


@pytest.mark.parametrize("name", OWNED)
def test_rows_of_known_inputs_take_no_passes_of_their_own(name, monkeypatch):
    make, draw = CASES[name]
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    model, first = dntk.as_model(make().eval()), draw(8, generator)
    assert model.gradient_forms(first).share == 1

    def refused(*_):
        pytest.fail("gradients input by input")

    monkeypatch.setattr("dntk_torch._blocks.by_loop", refused)
    for n in (2, 5, 12):
        assembled(model, draw(n, generator), torch.eye(model.n_outputs))


def test_rows_of_several_inputs_go_input_by_input():
    torch.manual_seed(2)
    model, x = dntk.as_model(Butterfly().eval()), rows(9, torch.Generator().manual_seed(2))
    forms = model.gradient_forms(x)
    assert [found.name for found in forms.per_input] == ["layer.weight"]


class Sometimes(Butterfly):
    """Sums and differences only where a number of the batch is negative."""

    def forward(self, x):
        return super().forward(x) if bool((x < 0).any()) else self.head(torch.tanh(self.layer(x)))


def test_rows_of_several_inputs_are_noticed_on_every_call():
    torch.manual_seed(6)
    net, x = Sometimes().eval(), rows(8, torch.Generator().manual_seed(6))
    model = dntk.as_model(net)
    assembled(model, x.abs(), torch.eye(3))
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(3)), expected) < 1e-5


def test_experts_without_rows_have_no_gradient():
    torch.manual_seed(3)
    net = Experts(1).eval()
    model, x = dntk.as_model(net), positions(6, torch.Generator().manual_seed(3))
    assembled(model, x, torch.eye(2))
    alone = x[:1, :1].expand(6, 4, 5) * (1 + 1e-3 * torch.arange(6.0)[:, None, None])
    expected = looped_jacobian(net, list(model.parameters), alone)
    assert relative(assembled(model, alone, torch.eye(2)), expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_moved_rows_are_noticed_in_sixteen_bits(dtype):
    torch.manual_seed(5)
    net = Sorted().eval().to(dtype)
    generator = torch.Generator().manual_seed(5)
    model, first = dntk.as_model(net), rows(8, generator).to(dtype)
    assembled(model, first[first[:, 0].argsort()], torch.eye(3))
    x = rows(8, generator).to(dtype)
    expected = looped_jacobian(net, list(model.parameters), x)
    assert relative(assembled(model, x, torch.eye(3)), expected.float()) < 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_in_order_take_no_passes_of_their_own(dtype, monkeypatch):
    torch.manual_seed(5)
    model, x = dntk.as_model(Sorted().eval().to(dtype)), rows(8, torch.Generator().manual_seed(5)).to(dtype)
    x = x[x[:, 0].argsort()]
    monkeypatch.setattr("dntk_torch._blocks.by_loop", lambda *_: pytest.fail("gradients input by input"))
    assembled(model, x, torch.eye(3))


@pytest.mark.parametrize("write", [lambda places, by: places.copy_(by), lambda places, by: places[:].copy_(by)])
def test_numbers_in_order_that_were_written_over_are_in_order_no_more(write):
    class Net(Placed):
        def forward(self, x):
            places = torch.arange(x.shape[0])
            write(places, (x[:, :1] > x[:, 0]).sum(1))  # ranks, by no operation that moves rows
            return self.head(x[places])

    # Equal inputs, of which nothing else shows that they would be put in order.
    assert rows_of(Net().eval(), torch.ones(4, rows(4, torch.Generator()).shape[1])).moved
