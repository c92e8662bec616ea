"""What transformed models and inputs with labels refuse, and what they say then."""

import numpy as np
import pytest

import dntk
from dntk.outputs import labelled, log_softmax, loss, margin
from tests.libraries import Library
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
MODEL, X = mlp(NUMPY), inputs(NUMPY, 4)
CLASSES = np.asarray([0, 1, 2, 1])

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize("make", [margin, loss])
@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (CLASSES, TypeError, r"`y` is a ndarray.*pass dntk.outputs.labelled\(x, y\) as x"),
        (True, TypeError, "`y` is a bool"),
        (1.0, TypeError, "`y` is a float"),
        (-1, ValueError, "`y`=-1: classes are counted from 0"),
        ("best", ValueError, "`y`='best': expected None, an integer class, or 'predicted'"),
    ],
)
def test_labels_that_are_no_choice_of_class_are_refused(make, y, error, message):
    with pytest.raises(error, match=message):
        make(MODEL, y)


@pytest.mark.parametrize("make", [margin, loss, log_softmax])
def test_networks_that_were_not_wrapped_are_refused(make):
    with pytest.raises(TypeError, match="`model` is a function: wrap the network first"):
        make(mlp)


USES = {
    "call": lambda m, x: m(x),
    "kernel": lambda m, x: dntk.ntk(m, x),
    "features": lambda m, x: dntk.tangent_features(m, x, sketch=None),
    "operator": lambda m, x: dntk.NTKOperator(m, x),
    "blocks": lambda m, x: list(m.gradient_blocks(x, np.ones((1, 1), "f4"))),
    "jvp": lambda m, x: m.jvp(x, np.ones((1, m.n_parameters), "f4")),
    "vjp": lambda m, x: m.vjp(x, np.ones((4, 1), "f4")),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", [margin, loss])
def test_missing_labels_are_missed_with_the_remedy(use, make):
    with pytest.raises(ValueError, match=r"`x1?` has no labels: pass dntk.outputs.labelled\(x1?, y\)"):
        USES[use](make(MODEL), X)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", [margin, loss])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_that_are_no_class_are_refused(use, make, wrong):
    y = np.where(np.arange(4) == 0, wrong, CLASSES)
    with pytest.raises(ValueError, match=f"there is no class {wrong}, the network has classes 0 to 2"):
        USES[use](make(MODEL), labelled(X, y))


def test_a_class_that_the_network_lacks_is_refused():
    with pytest.raises(ValueError, match="`y`: there is no class 3, the network has classes 0 to 2"):
        dntk.ntk(margin(MODEL, 3), X)
    one_output = mlp(NUMPY, (6, 4, 1))
    with pytest.raises(ValueError, match="there is no class 2, the network has classes 0 to 1"):
        dntk.ntk(margin(one_output, 2), X)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (margin(MODEL, 1), "its class is fixed, y=1"),
        (loss(MODEL, "predicted"), "its class is the predicted one"),
        (log_softmax(MODEL), "a function of the outputs alone"),
    ],
)
def test_labels_that_would_be_ignored_are_refused(model, why):
    for use in (model, model.check_inputs):
        with pytest.raises(ValueError, match=why):
            use(labelled(X, CLASSES))


def test_networks_refuse_labels():
    with pytest.raises(TypeError, match="Labelled"):
        dntk.ntk(MODEL, labelled(X, CLASSES))


def test_targets_of_another_shape_or_kind_are_refused():
    with pytest.raises(ValueError, match=r"the targets of `x` have shape \(4, 2\), expected \(4, 3\)"):
        loss(MODEL)(labelled(X, np.ones((4, 2), "f4")))
    with pytest.raises(ValueError, match=r"the targets of `x` have shape \(4,\), expected \(4, 3\)"):
        loss(MODEL)(labelled(X, np.ones(4, "f4")))
    with pytest.raises(TypeError, match="`labels of x` has dtype float32.*expected integer classes"):
        margin(MODEL)(labelled(X, np.ones(4, "f4")))
    with pytest.raises(TypeError, match=r"`labels of x` has dtype int64, shape \(4, 3\)"):
        loss(MODEL)(labelled(X, np.eye(4, 3, dtype=int)))


def test_one_output_takes_a_vector_of_targets():
    model = mlp(NUMPY, (6, 4, 1))
    y = np.asarray([0.5, -1.0, 2.0, 0.0])
    np.testing.assert_allclose(loss(model)(labelled(X, y)), (model(X) - y[:, None]) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (CLASSES[:3], ValueError, "`y` has 3 entries, but `x` has 4 inputs"),
        (CLASSES > 0, TypeError, "`y` has dtype bool: expected integer classes, or floating-point targets"),
        (np.asarray([0.0, np.nan, 1.0, 2.0]), ValueError, "`y` has NaN or infinite values in 1 of its 4 rows"),
        (np.asarray(1), ValueError, "`y` is a single number"),
        ([0, 1, 2, 1], TypeError, "`y` is a list: convert it to one array first"),
    ],
)
def test_labels_that_do_not_fit_their_inputs_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        labelled(X, y)


def test_labels_on_another_device_are_refused():
    here = Library("strict", "array_api_strict", "CPU_DEVICE").array(np.ones((4, 6)), "f4")
    there = Library("strict-device1", "array_api_strict", "device1").array(CLASSES)
    with pytest.raises(ValueError, match="`y` is on device .* but `x` is on"):
        labelled(here, there)


@pytest.mark.parametrize("shape", [(1, 2), (1, 3, 1), (3,)])
def test_cotangents_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`cotangents` has shape"):
        list(margin(MODEL, 0).gradient_blocks(X, np.ones(shape, "f4")))


@pytest.mark.parametrize("shape", [(4, 2), (3, 1), (4,)])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"`cotangents` has shape"):
        margin(MODEL, 0).vjp(X, np.ones(shape, "f4"))


def test_outputs_that_are_not_finite_have_no_gradients():
    model = dntk.MLP(weights=(np.full((2, 1), 1e30, "f4"),), biases=(None,))
    x = np.full((1, 1), 1e30, "f4")
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="`the network's outputs` has NaN or infinite"):
        margin(model, 0).vjp(x, np.ones((1, 1), "f4"))
