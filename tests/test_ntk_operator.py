"""The matrix-free kernel against products with the dense one."""

import numpy as np
import pytest
import scipy.sparse.linalg

import dntk
from dntk.kernels import operator as ntk_operator
from dntk.ledger import LedgerRecorder
from tests.jacobians import float_of
from tests.libraries import Library, host
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
OUTPUTS = ["mean", "each", "full", "sum", 0, 2]
N, C = 11, 3


def problem(library=NUMPY, outputs="mean", **options):
    dtype = float_of(library)
    model = mlp(library, (6, 16, C), dtype=dtype)
    x = inputs(library, N, dtype=dtype)
    return model, x, dntk.NTKOperator(model, x, outputs, **options)


def vectors(shape, library=NUMPY, seed=5):
    return library.array(np.random.default_rng(seed).normal(size=shape), float_of(library))


def dense(model, x, outputs):
    """The kernel as a matrix, or a stack of them, from dntk.ntk."""
    kernel = host(dntk.ntk(model, x, outputs=outputs))
    if outputs != "full":
        return kernel
    return np.stack([[kernel[i, j, c, d] for j in range(N) for d in range(C)] for i in range(N) for c in range(C)])


def assert_close(actual, kernel, expected, v, *, terms):
    """Rounding of K v: 8 · terms · eps · (|K| |v|)."""
    scale = np.max(np.sum(np.abs(kernel), axis=-1)) * max(1.0, np.max(np.abs(v)))
    atol = 8 * terms * np.finfo(host(actual).dtype).eps * scale
    assert host(actual).shape == expected.shape
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_products_diagonal_and_dense_form_are_those_of_the_kernel(library, outputs):
    model, x, op = problem(library, outputs)
    kernel = dense(model, x, outputs)
    assert op.shape == kernel.shape
    assert op.ndim == kernel.ndim
    assert (op.dtype, op.device) == (model.dtype, model.device)

    v, block = vectors(op.shape[:-1], library), vectors((*op.shape[:-1], 4), library)
    terms = model.n_parameters
    product = op @ v
    assert (product.dtype, product.device) == (model.dtype, model.device)
    assert_close(product, kernel, (kernel @ host(v)[..., None])[..., 0], host(v), terms=terms)
    assert_close(op @ block, kernel, kernel @ host(block), host(block), terms=terms)

    diagonal = np.diagonal(kernel, axis1=-2, axis2=-1)
    assert_close(op.diagonal(), kernel, diagonal, np.ones(1), terms=terms)
    np.testing.assert_array_equal(host(op.to_dense()), kernel)


def test_outputs_default_to_the_mean_kernel():
    model, x, op = problem()
    v = vectors(N)
    assert_close(dntk.NTKOperator(model, x) @ v, op.to_dense(), op @ v, v, terms=1)


def test_a_vector_of_all_pairs_is_an_array_of_inputs_and_outputs_row_by_row():
    model, x, op = problem(outputs="full")
    y = vectors((N, C))
    kernel = dntk.ntk(model, x, outputs="full")
    expected = np.einsum("ijcd,jd->ic", kernel, y)
    assert_close(np.reshape(op @ y.reshape(-1), (N, C)), dense(model, x, "full"), expected, y, terms=192)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batch_size_does_not_change_products_or_the_diagonal(outputs, batch_size):
    model, _, whole = problem(outputs=outputs)
    _, _, batched = problem(outputs=outputs, batch_size=batch_size)
    kernel, v = whole.to_dense(), vectors((*whole.shape[:-1], 3))
    assert_close(batched @ v, kernel, whole @ v, v, terms=model.n_parameters)
    assert_close(batched.diagonal(), kernel, whole.diagonal(), np.ones(1), terms=model.n_parameters)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_parameter_vectors_are_kept_within_the_budget(outputs, monkeypatch):
    model, _, op = problem(outputs=outputs)
    kernel, v = op.to_dense(), vectors((*op.shape[:-1], 3))
    whole = op @ v
    at_once = []
    exact = dntk.MLP.jvp
    monkeypatch.setattr(ntk_operator, "BUDGET", 2 * 8 * model.n_parameters)
    monkeypatch.setattr(dntk.MLP, "jvp", lambda self, x, t: at_once.append(t.shape[0]) or exact(self, x, t))
    assert_close(op @ v, kernel, whole, v, terms=model.n_parameters)
    assert max(at_once) == 2


def test_a_product_holds_one_batch_at_a_time(monkeypatch):
    _, _, op = problem(outputs="each", batch_size=4)
    sizes = []
    for name in ("vjp", "jvp"):
        exact = getattr(dntk.MLP, name)
        monkeypatch.setattr(
            dntk.MLP, name, lambda self, x, u, exact=exact: sizes.append(x.shape[0]) or exact(self, x, u)
        )
    op @ vectors((C, N))
    assert max(sizes) == 4


@pytest.mark.parametrize("outputs", ["sum", "full", 1])
def test_one_functional_costs_one_vjp_and_one_jvp(outputs, monkeypatch):
    _, _, op = problem(outputs=outputs)
    calls = []
    for name in ("vjp", "jvp"):
        exact = getattr(dntk.MLP, name)
        monkeypatch.setattr(
            dntk.MLP, name, lambda self, x, u, name=name, exact=exact: calls.append(name) or exact(self, x, u)
        )
    op @ vectors(op.shape[-1])
    assert calls == ["vjp", "jvp"]


@pytest.mark.parametrize("outputs", ["mean", "full", "sum", 0])
def test_the_operator_is_symmetric_and_positive_semidefinite(outputs):
    _, _, op = problem(outputs=outputs)
    v, w = vectors((2, op.shape[0]))
    scale = 8 * 192 * np.finfo(float).eps * np.linalg.norm(op.to_dense(), 2)
    assert abs(w @ (op @ v) - v @ (op @ w)) <= scale * np.linalg.norm(v) * np.linalg.norm(w)
    assert v @ (op @ v) >= -scale * np.linalg.norm(v) ** 2


def test_the_ledger_counts_rows_and_operations_of_products_and_diagonals():
    _, _, op = problem(outputs="mean")
    recorder = LedgerRecorder()
    with recorder.stage("product"):
        op @ vectors((N, 2))
    with recorder.stage("diagonal"):
        op.diagonal()
    cost = recorder.ledger()
    assert cost["product"].jacobian_rows == N * C * 2
    # The VJP of every functional and vector, one JVP of all: forward, one product in every layer for its parameters,
    # and one for what moves between the layers.
    first, last = 2 * 6 * 16, 2 * 16 * C
    assert cost["product"].flops == N * (C * 2 * (2 * first + 3 * last) + first + last + C * 2 * (first + 2 * last))
    assert (cost["product"].forward_passes, cost["product"].backward_passes) == (N * (C * 2 + 1), N * C * 2 * 2)
    assert cost["diagonal"].jacobian_rows == N * C
    assert cost["diagonal"].flops > 0


@pytest.mark.parametrize("outputs", ["mean", "full", "sum", 1])
def test_scipy_takes_the_operator_as_it_is(outputs):
    _, _, op = problem(outputs=outputs)
    kernel = op.to_dense()
    wrapped = scipy.sparse.linalg.aslinearoperator(op)
    v, block = vectors(op.shape[0]), vectors((op.shape[0], 3))
    assert wrapped.dtype == np.float64
    for product, x in ((wrapped @ v, v), (wrapped @ block, block), (wrapped.H @ v, v), (wrapped.H @ block, block)):
        assert_close(product, kernel, kernel @ x, x, terms=192)

    largest = scipy.sparse.linalg.eigsh(op, k=2, return_eigenvectors=False)
    expected = np.linalg.eigvalsh(kernel)[-2:]
    np.testing.assert_allclose(np.sort(largest), expected, rtol=1e-10)  # ARPACK's default is machine precision


def test_scipy_solves_with_the_operator():
    _, _, op = problem(outputs="sum")
    rhs = op @ vectors(N)
    solution, info = scipy.sparse.linalg.cg(op, rhs, rtol=1e-6, maxiter=1000)
    assert info == 0
    assert np.linalg.norm(op @ solution - rhs) <= 2e-6 * np.linalg.norm(rhs)


def test_scipy_may_work_in_double_precision_with_a_single_precision_network():
    op = dntk.NTKOperator(mlp(NUMPY), inputs(NUMPY, N))
    assert op.dtype == np.float32
    solution, info = scipy.sparse.linalg.cg(op, np.ones(N), rtol=1e-2, maxiter=1000)
    assert info == 0
    assert np.linalg.norm(op.to_dense() @ solution - np.ones(N)) <= 2e-2 * N**0.5


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_convolutional_networks_multiply_as_their_dense_kernels(outputs):
    torch = pytest.importorskip("torch")
    from tests.torch_networks import Residual, one_thread

    torch.manual_seed(0)
    net = Residual().double().eval()
    with one_thread():
        model, x = dntk.as_model(net), torch.randn(5, 2, 6, 5, dtype=torch.float64)
        op = dntk.NTKOperator(model, x, outputs, batch_size=2)
        kernel = op.to_dense()
        v = torch.randn(*op.shape[:-1], 2, dtype=torch.float64)
        assert_close(op @ v, host(kernel), host(kernel @ v), host(v), terms=model.n_parameters)
        diagonal = np.diagonal(host(kernel), axis1=-2, axis2=-1)
        assert_close(op.diagonal(), host(kernel), diagonal, np.ones(1), terms=model.n_parameters)


def test_some_parameters_give_their_share_of_the_kernel():
    model, x, _ = problem()
    part = model.subset("weights.1|biases.0")
    op, v = dntk.NTKOperator(part, x, outputs="full"), vectors(N * C)
    assert_close(op @ v, dense(part, x, "full"), dense(part, x, "full") @ v, v, terms=192)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        ("mean", (N + 1,), r"has shape \(12,\), expected \(11,\), or \(11, r\)"),
        ("mean", (N, 2, 2), r"has shape \(11, 2, 2\)"),
        ("mean", (N, 0), r"`v` is empty \(shape \(11, 0\)\)"),
        ("each", (N,), r"has shape \(11,\), expected \(3, 11\), or \(3, 11, r\)"),
        ("full", (N, C), r"has shape \(11, 3\), expected \(33,\), or \(33, r\)"),
    ],
)
def test_vectors_of_other_shapes_are_refused(outputs, shape, message):
    _, _, op = problem(outputs=outputs)
    with pytest.raises(ValueError, match=message):
        op @ np.ones(shape)


@pytest.mark.usefixtures("unchecked")
def test_vectors_of_other_kinds_are_refused():
    _, _, op = problem()
    with pytest.raises(TypeError, match="dtype float32, but the operator has float64"):
        op @ np.ones(N, dtype=np.float32)
    with pytest.raises(TypeError, match="dtype int64"):
        op.matvec(np.ones(N, dtype=np.int64))
    with pytest.raises(ValueError, match="`v` has NaN or infinite values in 1 of its 11 rows"):
        op @ np.where(np.arange(N) == 3, np.nan, 1.0)
    strict = Library("strict", "array_api_strict", "CPU_DEVICE")
    with pytest.raises(TypeError, match="`v` is a array_api_strict array, but the model computes with numpy"):
        op @ strict.array(np.ones(N))
    with pytest.raises(TypeError, match="`v` is a list: convert it to one array first"):
        op @ [1.0] * N


@pytest.mark.usefixtures("unchecked")
def test_vectors_on_another_device_are_refused():
    _, _, op = problem(Library("strict", "array_api_strict", "CPU_DEVICE"))
    elsewhere = Library("strict-device1", "array_api_strict", "device1").array(np.ones(N))
    with pytest.raises(ValueError, match=r"on device .*device1.*, but the model is on .*CPU_DEVICE"):
        op @ elsewhere


@pytest.mark.usefixtures("unchecked")
def test_bad_inputs_are_refused_where_the_operator_is_made():
    model, x, _ = problem()
    with pytest.raises(TypeError, match=r"`model` is a function: wrap the network first"):
        dntk.NTKOperator(problem, x)
    with pytest.raises(ValueError, match="the model takes 6 features"):
        dntk.NTKOperator(model, x[:, :5])
    with pytest.raises(ValueError, match="`outputs`=3: expected 'mean'"):
        dntk.NTKOperator(model, x, outputs=3)
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        dntk.NTKOperator(model, x, batch_size=0)


@pytest.mark.usefixtures("unchecked")
def test_outputs_that_are_not_finite_are_refused_in_whichever_batch_they_come():
    weights = (np.full((1, 1), 1e200), np.full((1, 1), 1e200))
    model = dntk.MLP(weights=weights, biases=(None, None), activation="identity")
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="`the network's outputs` has NaN or infinite"):
        dntk.NTKOperator(model, np.asarray([[0.0], [0.0], [1.0]]), batch_size=2)
