"""scikit-learn's multilayer perceptrons as models: outputs before softmax or sigmoid."""

import numpy as np
import pytest
import scipy.special
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import dntk

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def images():
    x, y = load_digits(return_X_y=True)
    return x[:300] / 16, y[:300]


def fitted(estimator, x, y, **settings):
    return estimator(hidden_layer_sizes=(9, 7), max_iter=8, random_state=0, **settings).fit(x, y)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_softmax_of_outputs_is_the_classifiers_probability(images, activation):
    x, y = images
    net = fitted(MLPClassifier, x, y, activation=activation)
    model = dntk.as_model(net)
    outputs = model(x)
    assert model.n_outputs == 10
    assert model.n_parameters == sum(w.size for w in (*net.coefs_, *net.intercepts_))
    # Both sum at most 64 products a layer, in other orders, of logits below 50.
    bound = 16 * 64 * 50 * np.finfo(np.float64).eps
    probabilities = scipy.special.softmax(outputs, axis=1)
    np.testing.assert_allclose(probabilities, net.predict_proba(x), rtol=bound)
    np.testing.assert_array_equal(np.argmax(outputs, axis=1), net.predict(x))


def test_two_classes_have_one_output_whose_sigmoid_is_the_second_ones_probability(images):
    x, y = images
    net = fitted(MLPClassifier, x, y > 4)
    outputs = dntk.as_model(net)(x)
    assert outputs.shape == (300, 1)
    np.testing.assert_allclose(scipy.special.expit(outputs[:, 0]), net.predict_proba(x)[:, 1], rtol=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_outputs_are_the_regressors_predictions(images, activation, columns):
    x, _ = images
    net = fitted(MLPRegressor, x[:, 3:], x[:, :columns].squeeze(), activation=activation)
    outputs = dntk.as_model(net)(x[:, 3:])
    assert outputs.shape == (300, columns)
    np.testing.assert_allclose(outputs.squeeze(), net.predict(x[:, 3:]), rtol=0, atol=1e-12)


def test_precision_is_the_one_the_estimator_was_fitted_in(images):
    x, y = images
    net = fitted(MLPClassifier, x.astype(np.float32), y)
    model = dntk.as_model(net)
    assert model.dtype == np.float32
    assert model(x.astype(np.float32)).dtype == np.float32


def test_later_fits_do_not_change_the_model(images):
    x, y = images
    net = fitted(MLPClassifier, x, y)
    model = dntk.as_model(net)
    before = model(x).copy()
    net.partial_fit(x, y)
    np.testing.assert_array_equal(model(x), before)


def test_parameters_are_selected_by_name(images):
    net = fitted(MLPClassifier, *images)
    assert list(dntk.as_model(net, parameters=r"\w+\.2").parameters) == ["weights.2", "biases.2"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_estimator_that_is_not_fitted_is_refused(estimator):
    message = rf"the {estimator.__name__} is not fitted: call fit\(x, y\)"
    with pytest.raises(ValueError, match=message):
        dntk.as_model(estimator())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("estimator", "name"),
    [(make_pipeline(StandardScaler(), MLPClassifier()), "Pipeline"), (SVC(), "SVC")],
    ids=["pipeline", "support vector machine"],
)
def test_other_estimators_are_refused_with_what_to_pass(estimator, name):
    message = rf"{name}: of scikit-learn only MLPClassifier and MLPRegressor.*not a Pipeline"
    with pytest.raises(TypeError, match=message):
        dntk.as_model(estimator)


@pytest.mark.usefixtures("unchecked")
def test_parameters_besides_a_fitted_estimator_are_refused(images):
    net = fitted(MLPClassifier, *images)
    with pytest.raises(TypeError, match="functions with `params` need a framework"):
        dntk.as_model(net, params={"weights": np.ones(3)})
