"""Calls from several threads, calls that are interrupted, and modules whose structure is hard to copy."""

import contextlib
import functools
import sys
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

import dntk
from dntk_torch import process_wide, undisturbed
from dntk_torch.plain_operations import Plain
from tests.torch_many_threads import different, others
from tests.torch_networks import Residual, batch, dense_tanh, network, one_thread
from tests.torch_untouched import interrupted_after, portrait

# PyTorch announces that it pads even kernels unevenly.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

NAMES = (
    "residual",
    "transformer-batch-first",
    "causal-attention",
    "recurrent",
    "spectral-norm",
    "bare-parameters",
    "untransformable",
    "text-renormalised",
    "hooked",
    "checkpointed",
)
THREADS, CALLS = 4, 8


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(autouse=True)
def _quick_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def results(model, x):
    """One of everything that runs the network."""
    torch.set_num_threads(1)  # which PyTorch keeps by thread
    outputs = model(x)
    blocks = [block.dense() for block in model.gradient_blocks(x, torch.eye(outputs.shape[1]))]
    pushed = model.jvp(x, torch.ones(1, model.n_parameters))
    return [outputs, *blocks, pushed, model.vjp(x, torch.ones_like(outputs))]


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_threads_find_what_one_finds_while_another_runs_the_network(name):
    net, x = network(name), batch(name)
    with torch.no_grad():
        plain = net(x.clone())
    model = dntk.as_model(net)
    expected, before = results(model, x), portrait(net)
    done = threading.Event()

    def run():
        torch.set_num_threads(1)
        right = True
        while not done.is_set():
            with torch.no_grad():
                right &= torch.equal(net(x.clone()), plain)
        return right

    with ThreadPoolExecutor(THREADS + 1) as pool:
        user = pool.submit(run)
        calls = [pool.submit(lambda: same(results(model, x), expected)) for _ in range(CALLS)]
        found = [call.result() for call in calls]
        done.set()
        assert user.result()
    assert all(found)
    if name != "text-renormalised":  # the user's own calls rewrite its table
        assert portrait(net) == before


def test_threads_find_what_one_finds_with_numpy_and_jax():
    pytest.importorskip("jax")
    for _, model, x in others():
        assert different(model, x, 2) == 0


@pytest.mark.parametrize("name", ["residual", "transformer-batch-first"])
def test_an_optimiser_made_before_trains_after_threads(name):
    net, x = network(name), batch(name)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    model = dntk.as_model(net)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: dntk.ntk(model, x), range(CALLS)))
    before = model(x)
    net(x).sum().backward()
    optimiser.step()
    assert not torch.equal(model(x), before)
    torch.testing.assert_close(model(x), net(x).detach())


@pytest.mark.parametrize("name", ["residual", "transformer-batch-first"])
def test_an_interrupt_at_any_moment_leaves_the_module_as_it_was(name):
    net, x = network(name), batch(name)[:2]
    before = portrait(net)
    with dntk.checking(False):
        results(dntk.as_model(net), x)  # what is made once for the process is no moment of every call
        lines = interrupted_after(10**9, lambda: results(dntk.as_model(net), x))
        for moment in range(1, lines, lines // 20):  # every moment: tests/torch_interrupts.py
            assert interrupted_after(moment, lambda: results(dntk.as_model(net), x)) == moment
            assert portrait(net) == before


BLOCKS = {
    "mode of functions": (undisturbed.Mode, "__exit__"),
    "mode of operations": (torch.utils._python_dispatch.TorchDispatchMode, "__exit__"),
    "autograd": (torch.enable_grad, "__exit__"),
    "no autograd": (torch.no_grad, "__exit__"),
    "forward mode": (forward_ad.dual_level, "__exit__"),
    "blocks of ours": (undisturbed.Together, "__exit__"),
    "stacks of blocks": (contextlib.ExitStack, "__exit__"),
    "generators": (contextlib._GeneratorContextManager, "__exit__"),
}


def enter_level(level):
    torch._C._enter_dual_level()
    forward_ad._current_level = level  # -1: interrupted before it was counted


def leave_level(_):
    forward_ad.enter_dual_level()
    torch._C._exit_dual_level(level=0)  # interrupted before it was counted


@pytest.mark.parametrize("begin", [lambda: enter_level(-1), lambda: enter_level(0), lambda: leave_level(0)])
def test_a_level_of_forward_mode_whose_count_was_interrupted_is_left(begin):
    with undisturbed.ForwardMode():
        begin()
    assert forward_ad._current_level == -1
    with forward_ad.dual_level():
        assert forward_ad._current_level == 0


def test_a_mode_of_operations_that_had_begun_to_leave_is_left():
    class Nothing(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    mode = Nothing()

    def interrupted():
        mode.__enter__()
        mode.old_dispatch_mode_flags.clear()  # what its exit does first
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        undisturbed.undisturbed(interrupted)()
    assert torch._C._len_torch_dispatch_stack() == 0


@pytest.fixture(scope="module")
def attention():
    """A network with PyTorch's fused layers, inputs and results."""
    net, x = network("transformer-batch-first"), batch("transformer-batch-first")[:2]
    return net, x, results(dntk.as_model(net), x)


@pytest.mark.parametrize(("grad", "after"), [(torch.no_grad, 0), (torch.inference_mode, 5)])
@pytest.mark.parametrize("block", BLOCKS)
def test_an_interrupt_at_the_start_of_an_exit_leaves_no_mode_on_the_thread(block, grad, after, attention, monkeypatch):
    # Python looks for signals when a function starts: this is where Ctrl-C leaves a block that is never left.
    net, x, expected = attention
    (owner, name), left = BLOCKS[block], 0
    leave = getattr(owner, name)

    def interrupted(self, *error):
        nonlocal left
        left += 1
        if left == 1 + after:
            raise KeyboardInterrupt
        return leave(self, *error)

    with grad():
        before = portrait(net)
        with monkeypatch.context() as patched, dntk.checking(False):
            patched.setattr(owner, name, interrupted)
            with contextlib.suppress(KeyboardInterrupt):
                results(dntk.as_model(net), x)
        assert left >= 1
        assert portrait(net) == before
        assert same(results(dntk.as_model(net), x), expected)


def within(seconds, call):
    """What a call returns, in a thread of its own; an error where it takes longer, as calls that wait for ever do."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "the call waits for ever"
    return found[0]


@pytest.mark.parametrize("name", ["quiet", "without_cudnn"])
def test_an_interrupt_at_any_moment_is_mended_by_the_next_block_that_needs_the_switch(name):
    ours = getattr(process_wide, name)
    switch = process_wide.Shared(ours._read, ours._put, ours._back)  # locks lost here are nobody else's

    def state():
        return torch.backends.cudnn.enabled, list(warnings.filters)

    def held():
        with switch():
            return state()

    def interrupts():
        before, put, done = state(), held(), 0
        assert before != put
        for moment in range(1, 1 + interrupted_after(10**9, held)):
            assert interrupted_after(moment, held) == moment
            assert held()[0] == put[0]
            assert len(held()[1]) == len(put[1])
            assert state() == before
            done += 1
        return done

    with dntk.checking(False):
        assert within(30, interrupts) > 10


def test_a_lock_that_a_thread_never_lets_go_is_replaced():
    shared = process_wide.Shared(lambda: 0, lambda _: None, lambda _: None)
    taken, over = threading.Event(), threading.Event()

    def keep():
        shared._lock.acquire()
        taken.set()
        over.wait()  # a thread that has ended may lend its identity, and with it the lock, to the next

    threading.Thread(target=keep, daemon=True).start()
    taken.wait()

    def held():
        with shared():
            return True

    assert within(30, held)
    assert within(1, held)  # not waited for again
    over.set()


def test_a_block_that_garbage_collection_ends_while_another_begins_does_not_wait_for_it(monkeypatch):
    monkeypatch.setattr(process_wide, "_LOST", 60.0)
    ended = []
    shared = process_wide.Shared(ended.clear, lambda _: ended.clear(), lambda _: None)

    def begun():
        with contextlib.ExitStack() as first:
            first.enter_context(shared())
            ended.append(first.pop_all())
        with shared():
            return len(ended)

    assert within(10, begun) == 0


def closed_over():
    net = dense_tanh()
    old = net.forward
    net.forward = lambda x: 2 * old(x)
    return net


def bound():
    net = dense_tanh()
    net.forward = functools.partial(lambda layers, x: layers[2](layers[1](layers[0](x))), net)
    return net


def hooked_by_closure():
    net = dense_tanh()
    net[1].register_forward_hook(lambda _layer, _inputs, output: output + output * net[0].weight.sum())
    return net


class Listed(nn.Module):
    """Layers that are called from containers that PyTorch does not look into, and by way of the parent."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)
        self.order = [("first", self.first), {"act": torch.tanh, "layer": self.second}]
        self.weights = [self.second.weight]
        self.parent, self.me = weakref.ref(self), [self]
        self.call = self.last

    def last(self, h):
        return (
            self.order[1]["layer"](h)
            + h @ self.weights[0].T
            + self.parent().first.bias.sum() * self.me[0].first.bias[0]
        )

    def forward(self, x):
        return self.call(self.order[1]["act"](self.order[0][1](x)))


@pytest.mark.parametrize("make", [closed_over, bound, hooked_by_closure, Listed])
def test_layers_are_found_in_closures_containers_and_references(make):
    torch.manual_seed(0)
    net, x = make().eval(), torch.randn(4, 5)
    outputs = net(x)
    chosen = list(net.parameters())
    grads = [torch.autograd.grad(entry, chosen, retain_graph=True) for entry in outputs.flatten()]
    expected = torch.stack([torch.cat([grad.flatten() for grad in row]) for row in grads]).reshape(*outputs.shape, -1)
    before = portrait(net)
    model = dntk.as_model(net)
    torch.testing.assert_close(model(x), outputs.detach())
    found = dntk.tangent_features(model, x, sketch=None).values.transpose(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert portrait(net) == before


OUTSIDE = nn.Linear(5, 3).eval()


class Global(nn.Module):
    """Calls its layer by a name that no copy can follow."""

    def __init__(self):
        super().__init__()
        self.layer, self.other = OUTSIDE, nn.Linear(3, 3)

    def forward(self, x):
        return self.other(OUTSIDE(x))


def test_parameters_that_a_copy_cannot_follow_are_refused():
    net, x = Global().eval(), torch.randn(4, 5)
    for parameters in (None, r"layer\..*"):
        with pytest.raises(ValueError, match="reaches its parameter 'layer.bias' other than through attributes"):
            dntk.ntk(dntk.as_model(net, parameters=parameters), x)
    assert dntk.ntk(dntk.as_model(net, parameters=r"other\..*"), x).shape == (4, 4)


def test_changes_of_the_network_between_calls_are_seen():
    net, x = dense_tanh().eval(), torch.randn(4, 5)
    model = dntk.as_model(net)
    changes = [
        lambda: net[0].weight.data.mul_(2),
        lambda: setattr(net[0], "weight", nn.Parameter(torch.randn(7, 5))),
        lambda: net.load_state_dict({k: torch.randn_like(v) for k, v in net.state_dict().items()}, assign=True),
        lambda: net.__setitem__(2, nn.Linear(7, 3).eval()),
        lambda: net.__setitem__(1, nn.ReLU().eval()),
        lambda: net[0].register_forward_hook(lambda _layer, _inputs, output: output.flip(0).flip(0) * 2),
        lambda: nn.utils.parametrizations.weight_norm(net[2], "weight").eval(),
    ]
    for change in changes[:-1]:
        model(x), dntk.ntk(model, x)
        change()
        torch.testing.assert_close(model(x), net(x).detach())
        torch.testing.assert_close(dntk.ntk(model, x), dntk.ntk(dntk.as_model(net), x))
    changes[-1]()
    with pytest.raises(ValueError, match="no longer has the parameter '2.weight': make the model again"):
        model(x)


def test_weights_that_are_cached_are_refused():
    net, x = network("weight-norm"), batch("weight-norm")
    model = dntk.as_model(net)
    with nn.utils.parametrize.cached(), pytest.raises(ValueError, match=r"leave parametrize.cached\(\) first"):
        model(x)


def test_compiled_networks_and_layers_run_as_they_were():
    net, x = Residual().eval(), batch("residual")
    expected = dntk.ntk(dntk.as_model(net), x)
    compiled = [torch.compile(net, backend="eager"), nn.Sequential(torch.compile(net, backend="eager")).eval()]
    net.compile(backend="eager")
    for some in (net, *compiled):
        torch.testing.assert_close(dntk.ntk(dntk.as_model(some), x), expected)


def test_warnings_and_process_wide_switches_are_as_before():
    net, x = network("recurrent"), batch("recurrent")
    model = dntk.as_model(net)
    results(model, x)  # imports packages with filters of their own
    before = list(warnings.filters)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: results(model, x), range(CALLS)))
    assert list(warnings.filters) == before


def test_calls_swap_no_filters_of_warnings(monkeypatch):
    net, x = network("recurrent"), batch("recurrent")
    results(dntk.as_model(net), x)

    swapped = []
    monkeypatch.setattr(warnings.catch_warnings, "__enter__", lambda *_: swapped.append(True))
    monkeypatch.setattr(warnings.catch_warnings, "__exit__", lambda *_: None)
    results(dntk.as_model(net), x)
    assert not swapped


PUT_BACK = ("nested", "crossed")
"""How two blocks of ``catch_warnings`` in other threads can end: the lists they put back had our entries."""


@pytest.mark.parametrize("order", PUT_BACK)
def test_filters_that_another_thread_puts_back_hide_nothing_and_go_with_the_next_block(order):
    before = list(warnings.filters)
    blocks = [warnings.catch_warnings(), warnings.catch_warnings()]
    ours = process_wide.quiet()
    ours.__enter__()
    for block in blocks:
        block.__enter__()
    ours.__exit__(None, None, None)
    for block in blocks if order == "crossed" else reversed(blocks):
        block.__exit__(None, None, None)
    with pytest.raises(UserWarning, match="There is a performance drop"):  # an error, where it is heard
        warnings.warn("There is a performance drop here", UserWarning, stacklevel=1)
    if order == "nested":
        assert list(warnings.filters) == before
    with process_wide.quiet():
        warnings.warn("There is a performance drop here", UserWarning, stacklevel=1)
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.tensor([[True, False, True], [False, False, True], [True, True, True]])},
        {"attn_mask": torch.randn(3, 3, generator=torch.Generator().manual_seed(0))},
        {"attn_mask": torch.zeros(3, 3, dtype=torch.bool)},
    ],
)
def test_plain_attention_is_attention(options):
    generator = torch.Generator().manual_seed(1)
    heads = torch.randn(3, 2, 2, 3, 4, generator=generator)
    expected = nn.functional.scaled_dot_product_attention(*heads, **options)
    with Plain():
        found = nn.functional.scaled_dot_product_attention(*heads, **options)
    torch.testing.assert_close(found, expected)
