"""Forms of gradients are believed only where they were compared with a gradient that is not zero.

The branches of these networks have rows of all positions with the inputs within, which is told from rows of all inputs
with the positions within by comparing gradients only. Gates may hide a branch; the head's bias always has a gradient.
"""

import pytest

import dntk

torch = pytest.importorskip("torch")
_findings = pytest.importorskip("dntk_torch._findings")
_blocks = pytest.importorskip("dntk_torch._blocks")
CLASSES, WIDTH, LENGTH = 3, 8, 5


class Gated(torch.nn.Module):
    """Branches, each times a gate of the input; with ``asking`` Python leaves out those that no input opens."""

    def __init__(self, branches=1, asking=False):
        super().__init__()
        self.asking = asking
        self.hidden = torch.nn.ModuleList(torch.nn.Linear(3, WIDTH) for _ in range(branches))
        self.last = torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, x, gates):
        total = x.new_zeros(len(x), WIDTH)
        for layer, gate in zip(self.hidden, gates.T, strict=True):
            if not self.asking or bool(gate.any()):
                rows = layer(x.transpose(0, 1).reshape(LENGTH * len(x), -1))
                total = total + torch.tanh(rows).reshape(LENGTH, len(x), -1).mean(0) * gate[:, None]
        return self.last(total)


def network(**settings):
    torch.manual_seed(0)
    return Gated(**settings).eval()


def batch(gates, seed=0):
    gates = torch.as_tensor(gates, dtype=torch.float32)
    x = torch.randn(len(gates), LENGTH, 3, generator=torch.Generator().manual_seed(seed))
    return {"x": x, "gates": gates.reshape(len(gates), -1)}


def jacobian(net, x):
    """Rows (n, C, P) by a backward pass each."""
    outputs, rows = net(**x), []
    for i in range(len(outputs)):
        for c in range(CLASSES):
            grads = torch.autograd.grad(outputs[i, c], list(net.parameters()), retain_graph=True, allow_unused=True)
            zeros = [torch.zeros_like(value) for value in net.parameters()]
            rows.append(torch.cat([(z if g is None else g).flatten() for g, z in zip(grads, zeros, strict=True)]))
    return torch.stack(rows).reshape(len(outputs), CLASSES, -1)


def assert_kernel(model, x):
    rows = jacobian(model.module, x)
    expected = torch.einsum("icp,jcp->ij", rows, rows) / CLASSES
    torch.testing.assert_close(dntk.ntk(model, x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def looks(monkeypatch):
    """Plans that are made after the first."""
    made, plan_at = [], _findings.plan_at
    monkeypatch.setattr(_findings, "plan_at", lambda *given: made.append(plan_at(*given)) or made[-1])
    return made


def loops(monkeypatch):
    """Parameters that are differentiated input by input."""
    names, by_loop = [], _blocks.by_loop
    monkeypatch.setattr(_blocks, "by_loop", lambda net, some, *given: names.extend(some) or by_loop(net, some, *given))
    return names


@pytest.mark.parametrize("open_", [[4], [9], [4, 5, 6, 7, 8, 9], []])
def test_forms_of_what_the_first_inputs_hide_are_compared_at_others(open_):
    gates = torch.zeros(10)
    gates[open_] = 1
    assert_kernel(dntk.as_model(network()), batch(gates))


def test_forms_of_what_a_whole_batch_hides_are_compared_at_the_next(monkeypatch):
    model, made = dntk.as_model(network()), looks(monkeypatch)
    for gates in ([0] * 6, [0] * 6, [0, 0, 0, 0, 1, 1], [1] * 6, [0] * 6):
        assert_kernel(model, batch(gates))
    assert [plan.untold for plan in made] == [frozenset()]


@pytest.mark.parametrize("asking", [False, True])
def test_what_one_batch_showed_is_not_lost_with_the_next(asking, monkeypatch):
    model, made, names = dntk.as_model(network(branches=2, asking=asking)), looks(monkeypatch), loops(monkeypatch)
    first, second = [[1, 0]] * 6, [[0, 0]] * 4 + [[0, 1]] * 2
    for gates in (first, second, first, second):
        assert_kernel(model, batch(gates))
    assert [plan.untold for plan in made] == [frozenset()]
    assert not names


def test_parameters_without_any_gradient_cost_no_further_look_and_no_pass_per_input(monkeypatch):
    net = network()
    torch.nn.init.zeros_(net.last.weight)
    model, made, names = dntk.as_model(net), looks(monkeypatch), loops(monkeypatch)
    for seed in range(3):
        assert_kernel(model, batch([1] * 6, seed))
    assert not made
    assert not names


def test_weights_that_change_wake_what_had_no_gradient():
    net = network()
    last = net.last.weight.detach().clone()
    torch.nn.init.zeros_(net.last.weight)
    model, x = dntk.as_model(net), batch([1] * 6)
    assert_kernel(model, x)
    with torch.no_grad():
        net.last.weight.copy_(last)
    assert_kernel(model, x)


def test_where_no_input_alone_shows_a_gradient_it_is_found_input_by_input_without_more_looks(monkeypatch):
    monkeypatch.setattr(_findings, "inputs_showing", lambda _x, _names, known, _shown: known)
    model, made, names = dntk.as_model(network()), looks(monkeypatch), loops(monkeypatch)
    for _ in range(3):
        assert_kernel(model, batch([0, 0, 0, 0, 1, 1]))
    assert len(made) == 1
    assert {"hidden.0.weight", "hidden.0.bias", "last.weight"} <= set(names)


@pytest.mark.parametrize(("gates", "kept"), [(torch.ones(64, 3), 4), (torch.eye(64)[:, [40, 50, 60]], 4 + 3)])
def test_the_inputs_that_are_kept_are_few_and_the_batch_is_let_go(gates, kept):
    model, x = dntk.as_model(network(branches=3)), batch(gates)
    assert_kernel(model, x)
    ((_, plan),) = model._findings.plans.found.values()
    assert len(plan.shown["x"]) == kept
    assert plan.shown["x"].untyped_storage().nbytes() < x["x"].untyped_storage().nbytes()


class Wrong(torch.autograd.Function):
    """Three times its input, whose forward mode says twice."""

    @staticmethod
    def forward(x):
        return 3 * x

    @staticmethod
    def setup_context(_ctx, _inputs, _output):
        pass

    @staticmethod
    def backward(_ctx, grad):
        return 3 * grad

    @staticmethod
    def jvp(_ctx, tangent):
        return 2 * tangent


class WrongForward(Gated):
    def forward(self, x, gates):
        return self.last(Wrong.apply(self.hidden[0](x).mean(1)) * gates)


def test_forward_mode_is_not_believed_for_what_it_was_not_compared_at():
    torch.manual_seed(0)
    net, x = WrongForward().eval(), batch([0, 0, 0, 0, 1, 1])
    model = dntk.as_model(net)
    tangent = torch.randn(1, model.n_parameters, generator=torch.Generator().manual_seed(1))
    for points in (x, x, batch([1] * 6)):
        expected = jacobian(net, points) @ tangent[0]
        torch.testing.assert_close(model.jvp(points, tangent)[0], expected, rtol=1e-4, atol=1e-5)


class Normed(Gated):
    """Weights by torch's weight norm, which has no forward mode, where Python finds an open gate."""

    def __init__(self):
        super().__init__()
        self.normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, WIDTH))

    def forward(self, x, gates):
        hidden = self.hidden[0](x).mean(1)
        return self.last(hidden + self.normed(x).mean(1) * gates if bool(gates.any()) else hidden)


class Sine(torch.autograd.Function):
    """Without any forward mode, and without what function transforms ask for."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0].cos()


class Own(Gated):
    def forward(self, x, gates):
        hidden = self.hidden[0](x).mean(1)
        return self.last(Sine.apply(hidden) * gates if bool(gates.any()) else 0 * hidden)


@pytest.mark.parametrize("kind", [Normed, Own])
def test_an_operation_without_forward_mode_is_met_late(kind):
    torch.manual_seed(0)
    net = kind().eval()
    model = dntk.as_model(net)
    tangent = torch.randn(1, model.n_parameters, generator=torch.Generator().manual_seed(1))
    for gates in ([0] * 4, [0, 0, 1, 1], [0] * 4):
        expected = jacobian(net, batch(gates)) @ tangent[0]
        torch.testing.assert_close(model.jvp(batch(gates), tangent)[0], expected, rtol=1e-4, atol=1e-5)


def test_forward_mode_is_given_up_after_some_looks(monkeypatch):
    made, make_push = [], _findings.make_push
    monkeypatch.setattr(_findings, "make_push", lambda *given: made.append(1) or make_push(*given))
    model = dntk.as_model(network())
    for _ in range(20):
        model.jvp(batch([0, 0]), torch.ones(1, model.n_parameters))
    assert len(made) == 16


class Cancelling(Gated):
    """Two uses of one weight, only one of which belongs to a layer, and no gradient in all."""

    def forward(self, x, gates):
        twice = torch.nn.functional.linear(x, self.hidden[0].weight)
        return self.last((self.hidden[0](x) - twice).mean(1) * gates)


def test_a_form_that_gives_a_gradient_where_there_is_none_does_not_count():
    torch.manual_seed(0)
    net = Cancelling().eval()
    net.hidden[0].bias = None  # nothing that could wake
    model = dntk.as_model(net)
    for gates in ([0] * 6, [1] * 6, [0] * 6):
        assert_kernel(model, batch(gates))


def test_biases_of_layers_whose_inputs_are_zero_are_kept():
    model, x = dntk.as_model(network()), batch([1] * 6)
    x["x"] = torch.zeros_like(x["x"])
    assert_kernel(model, x)
    assert_kernel(model, batch([1] * 6))
    assert_kernel(model, x)


class Twice(Gated):
    """One layer in two places, the second behind the gate."""

    def forward(self, x, gates):
        layer, n = self.hidden[0], len(x)
        plain = torch.tanh(layer(x.reshape(n * LENGTH, -1))).reshape(n, LENGTH, -1).mean(1)
        rows = torch.tanh(layer(x.transpose(0, 1).reshape(LENGTH * n, -1))).reshape(LENGTH, n, -1).mean(0)
        return self.last(plain + rows * gates)


def test_every_use_of_a_parameter_has_to_be_compared(monkeypatch):
    torch.manual_seed(0)
    model, made = dntk.as_model(Twice().eval()), looks(monkeypatch)
    for gates in ([0] * 6, [0, 0, 0, 0, 1, 1], [1] * 6, [0] * 6):
        assert_kernel(model, batch(gates))
    assert len(made) == 1


def by_a_function(layer, h):
    """The weight, through a view, with positions before inputs."""
    rows = torch.nn.functional.linear(h.transpose(0, 1).flatten(0, 1), layer.weight.mT.mT)
    return rows.reshape(LENGTH, len(h), WIDTH).transpose(0, 1)


def in_place(layer, h):
    return h.clone().add_(layer.bias)


def by_assignment(layer, h):
    h = h.clone()
    h[:, 0] = layer.bias
    return h


class Shared(torch.nn.Module):
    """A layer whose parameters are used outside of it, too, behind a gate of the input."""

    def __init__(self, use):
        super().__init__()
        self.use = use
        self.first, self.shared = torch.nn.Linear(3, WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.last = torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, x, gates):
        h = torch.tanh(self.first(x))
        hidden = torch.relu(self.use(self.shared, h)) * gates[:, :, None]
        return self.last((self.shared(h) + hidden).mean(1))


@pytest.mark.parametrize("use", [by_a_function, in_place, by_assignment])
def test_a_use_outside_of_its_layer_is_seen_behind_a_gate(use):
    torch.manual_seed(0)
    model = dntk.as_model(Shared(use).eval())
    assert_kernel(model, batch([0] * 4 + [1] * 6))
    assert_kernel(model, batch([0] * 4))


def test_networks_that_do_not_run_while_they_are_looked_at_are_exact(monkeypatch):
    def refusing(*_):
        message = "no modes here"
        raise RuntimeError(message)

    monkeypatch.setattr("dntk_torch._elsewhere._used_elsewhere", refusing)
    torch.manual_seed(0)
    assert_kernel(dntk.as_model(Shared(by_a_function).eval()), batch([0] * 4 + [1] * 6))


def test_looking_at_a_weight_outside_of_its_layer_is_no_use():
    class Looking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(3, WIDTH), torch.nn.Linear(WIDTH, CLASSES)

        def forward(self, x):
            with torch.no_grad():
                self.first.weight.norm()
            return self.last(torch.tanh(self.first(x.to(self.first.weight.dtype))))

    model = dntk.as_model(Looking().eval())
    dntk.ntk(model, torch.randn(6, 3))
    assert model.gradient_forms(torch.randn(6, 3)).share == 1


class Keyed(torch.nn.Module):
    """A branch for inputs of kind 7 alone, and no bias; its outputs rounded, or not."""

    def __init__(self, end):
        super().__init__()
        self.end = end
        self.hidden, self.last = torch.nn.Linear(3, WIDTH, bias=False), torch.nn.Linear(WIDTH, CLASSES, bias=False)

    def forward(self, x, kind):
        return self.end(self.last(torch.tanh(self.hidden(x)) * (kind == 7)[:, None]))


@pytest.mark.parametrize("kinds", [[3] * 10, [3] * 6 + [7] * 4])
def test_gates_that_a_whole_number_opens_are_no_refusal(kinds):
    torch.manual_seed(0)
    net, x = Keyed(torch.nn.Identity()).eval(), torch.randn(10, 3)
    open_ = torch.tensor(kinds) == 7
    found = dntk.ntk(dntk.as_model(net), {"x": x, "kind": torch.tensor(kinds)})
    expected = torch.zeros(10, 10)
    if open_.any():
        expected[open_.outer(open_)] = dntk.ntk(dntk.as_model(net.eval(), forward=_at_seven), x[open_]).flatten()
    torch.testing.assert_close(found, expected)


def _at_seven(net, x):
    return net(x, torch.full((len(x),), 7))


def test_rounded_outputs_of_whole_numbers_are_refused():
    x = {"x": torch.randn(10, 3), "kind": torch.full((10,), 7)}
    with pytest.raises(ValueError, match="carry no gradient"):
        dntk.ntk(dntk.as_model(Keyed(torch.round).eval()), x)


class Flattened(torch.nn.Module):
    """Tokens (n, t, 3) whose rows go through layers as (n·t, …), of all inputs after one another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = (torch.nn.Linear(m, n) for m, n in ((3, 5), (5, 5), (5, 2)))

    def forward(self, x):
        rows = self.head(torch.tanh(self.second(torch.tanh(self.first(x.flatten(0, 1))))))
        return rows.unflatten(0, (len(x), -1)).mean(1)


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_rows_tell_their_inputs_where_gradients_hardly_differ(spread):
    """That of the last bias is the same at every row."""
    x = 1 + spread * torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))
    plan = dntk.as_model(Flattened().eval())._plan(x)
    assert set(plan.layouts) == {
        f"{layer}.{kind}" for layer in ("first", "second", "head") for kind in ("weight", "bias")
    }
    assert all(plan.told[name] for name in plan.layouts)


class Made(torch.nn.Module):
    """A branch behind a gate, whose weights are made of a parameter, and one without a gate, of the same or of none."""

    def __init__(self, kind, plainly):
        super().__init__()
        self.kind, self.plainly = kind, plainly
        self.first, self.last = torch.nn.Linear(3, WIDTH), torch.nn.Linear(WIDTH, CLASSES)
        self.weight, self.table = torch.nn.Parameter(torch.randn(WIDTH, WIDTH)), torch.nn.Parameter(torch.randn(3))

    def made(self, hidden):
        if self.kind == "standardised":
            return torch.nn.functional.linear(hidden, (self.weight - self.weight.mean()) / self.weight.std())
        if self.kind == "normalised":
            return hidden @ torch.nn.functional.normalize(self.weight, dim=0)
        return hidden + self.table[[0, 1, 2, 2, 1, 0, 0, 1]]

    def forward(self, x, gates):
        hidden = torch.tanh(self.first(x.mean(1)))
        if self.plainly:
            hidden = torch.tanh(hidden @ self.weight.T + self.table.repeat(3)[:WIDTH])
        return self.last(hidden + torch.tanh(self.made(hidden)) * gates)


@pytest.mark.parametrize("kind", ["standardised", "normalised", "looked up"])
@pytest.mark.parametrize("plainly", [False, True])
def test_values_that_are_made_of_a_parameter_are_seen_behind_a_gate(kind, plainly, monkeypatch):
    torch.manual_seed(0)
    net, names = Made(kind, plainly).eval(), loops(monkeypatch)
    model = dntk.as_model(net)
    for gates in ([0] * 6, [0] * 5 + [1], [0] * 6, [1] * 9, [0, 1] * 3):
        assert_kernel(model, batch(gates))
    assert not names


class TwoWays(Made):
    """Turns its outputs around and back where there are many inputs."""

    def forward(self, x, gates):
        outputs = super().forward(x, gates)
        return outputs.flip(1).flip(1) if len(x) > 5 else outputs


@pytest.mark.parametrize("plainly", [False, True])
def test_what_is_made_of_a_parameter_is_compared_on_a_new_way(plainly, monkeypatch):
    torch.manual_seed(0)
    net, names = TwoWays("standardised", plainly).eval(), loops(monkeypatch)
    model = dntk.as_model(net)
    for count in (4, 9):
        assert_kernel(model, batch([1] * count))
    assert not names


@pytest.mark.parametrize("asking", [False, True])
@pytest.mark.parametrize("outputs", ["mean", "each", "full"])
def test_batches_that_a_gate_closes_and_others_have_one_kernel(asking, outputs):
    x = batch([0] * 5 + [1] * 4 + [0, 1])
    whole = dntk.ntk(dntk.as_model(network(asking=asking)), x, outputs=outputs, batch_size=11)
    by_batches = dntk.ntk(dntk.as_model(network(asking=asking)), x, outputs=outputs, batch_size=3)
    torch.testing.assert_close(by_batches, whole, rtol=1e-4, atol=1e-5)
    few = {name: part[:4] for name, part in x.items()}
    crossed = dntk.ntk(dntk.as_model(network(asking=asking)), few, x, outputs=outputs)
    torch.testing.assert_close(crossed, whole[:4] if outputs != "each" else whole[:, :4], rtol=1e-4, atol=1e-5)
