"""The estimators of dntk.sklearn: scikit-learn's own checks, and that they do what they say."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import dntk
from dntk.distill.data import Random, Wasserstein
from dntk.sketch import SparseSign
from dntk.sklearn import DistilledNTKClassifier, DistilledNTKRegressor, TangentFeatureMap
from dntk.sklearn._probabilities import class_probabilities
from dntk.solve import Functionals, Joint
from tests.libraries import host

# What users have; scikit-learn counts on its own messages.
pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

ESTIMATORS = [DistilledNTKClassifier, DistilledNTKRegressor, TangentFeatureMap]
NAMES = np.array(["pear", "apple", "quince"])


@parametrize_with_checks([estimator() for estimator in ESTIMATORS])
def test_scikit_learn_checks_it(estimator, check):
    check(estimator)


ARRAY_API = """
import sys
from sklearn.utils import estimator_checks
import dntk
for name in ("DistilledNTKClassifier", "DistilledNTKRegressor", "TangentFeatureMap"):
    estimator = getattr(dntk, name)()
    estimator_checks.check_array_api_input(name, estimator, "array_api_strict", "CPU_DEVICE", check_values=True)
    estimator_checks.check_array_api_same_namespace(name, estimator, "array_api_strict", "device1")
    print(name)
"""


def test_arrays_of_other_libraries_stay_where_they_are_when_scikit_learn_dispatches():
    pytest.importorskip("array_api_strict")
    pytest.importorskip("sklearn", minversion="1.9")  # the arguments of its checks
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "DNTK_CHECK": "0"}  # SciPy reads it as it is imported
    done = subprocess.run([sys.executable, "-c", ARRAY_API], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [estimator.__name__ for estimator in ESTIMATORS]


@pytest.fixture(scope="module")
def blobs():
    x, codes = make_blobs(120, n_features=4, centers=3, cluster_std=3.0, random_state=0)
    return x / 10, NAMES[codes]


@pytest.fixture(scope="module")
def perceptron(blobs):
    return MLPClassifier((8,), max_iter=60, random_state=0).fit(*blobs)


class TestTheClassifier:
    def test_is_the_distilled_regression_on_places_of_sorted_labels(self, blobs, perceptron):
        x, labels = blobs
        classes, codes = np.unique(labels, return_inverse=True)
        assert list(classes) == ["apple", "pear", "quince"]
        settings = {"data": Random(50, seed=1), "sketch": SparseSign(64, seed=2), "gradients": None, "ridge": 0.1}
        found = DistilledNTKClassifier(perceptron, **settings).fit(x, labels)
        fit = dntk.DistilledNTK(dntk.as_model(perceptron), **settings).fit(x, codes)
        np.testing.assert_array_equal(found.decision_function(x), fit.predict(x))
        np.testing.assert_array_equal(found.predict(x), classes[np.argmax(fit.predict(x), axis=1)])
        assert found.fit_.losses.kept_points == 50
        assert found.score(x, labels) > 0.6

    @pytest.mark.parametrize("regression", [Joint(), Functionals(seed=3)])
    def test_all_outputs_may_be_one_regression(self, blobs, perceptron, regression):
        x, labels = blobs
        codes = np.unique(labels, return_inverse=True)[1]
        settings = {"data": Random(50, seed=1), "gradients": None, "ridge": 0.1, "regression": regression}
        found = clone(DistilledNTKClassifier(dntk.as_model(perceptron), **settings)).fit(x, labels)
        fit = dntk.DistilledNTK(dntk.as_model(perceptron), **settings).fit(x, codes)
        np.testing.assert_array_equal(found.decision_function(x), fit.predict(x))
        separate = clone(found).set_params(regression=None).fit(x, labels)
        assert np.abs(separate.decision_function(x) - fit.predict(x)).max() > 0.01
        probability = found.predict_proba(x)
        np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(found.classes_[np.argmax(probability, axis=1)], found.predict(x))
        with pytest.raises(TypeError, match="regression"):
            found.set_params(regression="joint").fit(x, labels)

    def test_of_two_classes_has_one_output_positive_for_the_second(self, blobs):
        x, labels = blobs
        two = labels != "quince"
        found = DistilledNTKClassifier().fit(x[two], labels[two])
        outputs = found.decision_function(x)
        assert found.network_.n_outputs == 1
        assert outputs.shape == (120,)
        np.testing.assert_array_equal(found.predict(x), np.where(outputs > 0, "pear", "apple"))
        targets = (labels[two] == "pear")[:, None] - 0.5
        fit = dntk.DistilledNTK(found.network_).fit(x[two], targets)
        np.testing.assert_array_equal(outputs, fit.predict(x)[:, 0])
        probability = found.predict_proba(x)
        np.testing.assert_array_equal(probability[:, 1] > 0.5, outputs > 0)

    def test_of_two_classes_and_two_outputs_says_the_difference(self, blobs):
        x, labels = blobs
        two = labels != "quince"
        rng = np.random.default_rng(0)
        net = dntk.MLP(weights=(rng.standard_normal((5, 4)), rng.standard_normal((2, 5))), biases=(None, None))
        found = DistilledNTKClassifier(net).fit(x[two], labels[two])
        outputs = found.fit_.predict(x)
        np.testing.assert_array_equal(found.decision_function(x), outputs[:, 1] - outputs[:, 0])
        np.testing.assert_array_equal(found.predict(x), np.where(outputs[:, 1] > outputs[:, 0], "pear", "apple"))

    def test_takes_the_largest_output_as_the_most_probable(self, blobs):
        x, labels = blobs
        found = DistilledNTKClassifier().fit(x, labels)
        probability = found.predict_proba(x)
        np.testing.assert_array_equal(found.classes_[np.argmax(probability, axis=1)], found.predict(x))
        assert np.all(probability > 0)

    def test_refuses_labels_of_one_class(self, blobs):
        with pytest.raises(ValueError, match="`y` has one class, 'pear': a classifier needs at least two"):
            DistilledNTKClassifier().fit(blobs[0], ["pear"] * 120)

    def test_refuses_a_network_of_other_labels(self, blobs, perceptron):
        x, labels = blobs
        with pytest.raises(ValueError, match=r"fitted to the classes \['apple', 'pear', 'quince'\], but `y` has"):
            DistilledNTKClassifier(perceptron).fit(x, np.char.add("a ", labels))

    def test_refuses_a_network_of_another_number_of_outputs(self, blobs, perceptron):
        x, labels = blobs
        with pytest.raises(ValueError, match="the network has 3 outputs, but `y` has 2 classes"):
            DistilledNTKClassifier(dntk.as_model(perceptron)).fit(x, labels == "pear")

    def test_makes_inputs_only_where_their_labels_are_known(self, blobs):
        x, labels = blobs
        made = Wasserstein(4, steps=3)
        found = DistilledNTKClassifier(data=made).fit(x, labels)
        assert found.fit_.data is not None
        with pytest.raises(ValueError, match="a single output learns ∓½"):
            DistilledNTKClassifier(data=made).fit(x, labels == "pear")


def nearest_of_the_simplex(point):
    """By bisection of the threshold t with Σ max(v − t, 0) = 1."""
    low, high = point.min() - 1, point.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(point - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(point - low, 0)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_probabilities_are_the_nearest_of_the_simplex_mixed_with_the_uniform_ones(library, classes):
    outputs = np.random.default_rng(classes).standard_normal((40, classes)).astype(np.float32)
    found = host(class_probabilities(library.array(outputs), 0.01))
    both = np.hstack([-outputs, outputs]) if classes == 1 else outputs
    count = both.shape[1]
    mixed = 0.01 * count**2 / (2 * (count - 1))
    nearest = np.array([nearest_of_the_simplex(row) for row in both.astype(np.float64) + 1 / count])
    # Sums of at most five numbers below 5 in absolute value, in single precision.
    np.testing.assert_allclose(found, (1 - mixed) * nearest + mixed / count, rtol=0, atol=50 * 2**-24)
    np.testing.assert_array_equal(np.argmax(found, axis=1), np.argmax(both, axis=1))


def test_the_share_that_is_mixed_in_is_that_of_random_labels_with_the_same_error():
    rng, classes, share = np.random.default_rng(0), 4, 0.3
    true = rng.integers(classes, size=200_000)
    seen = np.where(rng.uniform(size=true.size) < share, rng.integers(classes, size=true.size), true)
    outputs = np.eye(classes)[true] - 1 / classes
    error = np.mean((np.eye(classes)[seen] - 1 / classes - outputs) ** 2)
    # A mean of 200,000 numbers in [0, 1], ten deviations.
    wrong = np.mean(class_probabilities(outputs[:100], error)[np.arange(100), true[:100]])
    assert abs((1 - wrong) - np.mean(seen != true)) < 10 * 0.5 / 200_000**0.5


@pytest.fixture(scope="module")
def data():
    return make_regression(80, n_features=3, n_targets=2, noise=5.0, random_state=0)


class TestTheRegressor:
    def test_is_the_distilled_regression_on_standardised_targets(self, data):
        x, y = data
        found = DistilledNTKRegressor().fit(x, y)
        mean, spread = y.mean(axis=0), y.std(axis=0)
        fit = dntk.DistilledNTK(found.network_).fit(x, (y - mean) / spread)
        np.testing.assert_allclose(found.predict(x), fit.predict(x) * spread + mean, rtol=1e-12, atol=1e-12)
        assert found.score(x, y) > 0.9

    def test_targets_may_be_one_regression(self, data):
        x, y = data
        found = DistilledNTKRegressor(regression=Joint()).fit(x, y)
        mean, spread = y.mean(axis=0), y.std(axis=0)
        fit = dntk.DistilledNTK(found.network_, regression=Joint()).fit(x, (y - mean) / spread)
        assert found.fit_.losses.together
        np.testing.assert_allclose(found.predict(x), fit.predict(x) * spread + mean, rtol=1e-12, atol=1e-12)

    def test_scales_with_its_targets(self, data):
        x, y = data
        one = DistilledNTKRegressor().fit(x, y[:, 0])
        other = DistilledNTKRegressor().fit(x, 1e6 * y[:, 0] + 3e7)
        assert one.predict(x).shape == (80,)
        # Standardised targets differ by rounding, which training may enlarge.
        np.testing.assert_allclose(other.predict(x), 1e6 * one.predict(x) + 3e7, rtol=1e-5, atol=1e6)

    def test_of_constant_targets_predicts_them(self, data):
        np.testing.assert_allclose(DistilledNTKRegressor().fit(data[0], np.full(80, 7.0)).predict(data[0]), 7.0)

    def test_refuses_inputs_at_which_there_are_no_targets(self, data):
        with pytest.raises(ValueError, match="the regression would be on the network's outputs"):
            DistilledNTKRegressor(data=Wasserstein(4)).fit(*data)

    def test_refuses_a_network_of_another_number_of_outputs(self, data):
        x, y = data
        net = MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0).fit(x, y)
        with pytest.raises(ValueError, match="the network has 2 outputs, but `y` has 1 targets per point"):
            DistilledNTKRegressor(net).fit(x, y[:, 0])


class TestTheFeatureMap:
    def test_makes_features_whose_products_are_the_kernel(self, blobs, perceptron):
        x, labels = blobs
        made = TangentFeatureMap(perceptron, sketch=None).fit(x[:60])
        features = made.transform(x)
        kernel = dntk.ntk(dntk.as_model(perceptron), x)
        np.testing.assert_allclose(features @ features.T, kernel, rtol=0, atol=1e-12 * kernel.max())
        first = dntk.tangent_features(dntk.as_model(perceptron), x, sketch=None, outputs=0).values[0]
        np.testing.assert_allclose(features[:, : first.shape[1]], first / 3**0.5, rtol=1e-12)
        assert make_pipeline(made, RidgeClassifier()).fit(x, labels).score(x, labels) > 0.6

    def test_names_as_many_features_as_it_makes(self, blobs, perceptron):
        x, _ = blobs
        for outputs, count in (("each", 3 * 32), ("sum", 32), (1, 32)):
            made = TangentFeatureMap(perceptron, sketch=SparseSign(32), outputs=outputs).fit(x)
            names = made.get_feature_names_out()
            assert made.transform(x).shape == (120, count)
            assert list(names[:2]) == ["tangentfeaturemap0", "tangentfeaturemap1"]
            assert len(names) == count

    def test_settles_the_sketch_when_it_is_fitted(self):
        x = np.random.default_rng(0).standard_normal((30, 200))
        made = TangentFeatureMap(random_state=3).fit(x)
        assert made.network_.n_parameters == 64 * 202 + 1
        # Sums of 201 products, in another order for other batches.
        np.testing.assert_allclose(made.transform(x)[:2], made.transform(x[:2]), rtol=0, atol=1e-11)
        phi = dntk.tangent_features(made.network_, x, sketch=made.sketch_)
        np.testing.assert_array_equal(made.transform(x), phi.joined())
        other = TangentFeatureMap(made.network_, random_state=4).fit(x)
        assert made.sketch_ != other.sketch_

    def test_needs_labels_for_a_network_that_is_not_fitted(self, blobs):
        made = TangentFeatureMap(MLPClassifier((4,), max_iter=5))
        with pytest.raises(ValueError, match="`model` is a MLPClassifier that is not fitted, and `y` is None"):
            made.fit(blobs[0])
        assert made.fit(*blobs).network_.n_outputs == 3


class TestTheNetwork:
    def test_that_is_fitted_is_used_as_it_is(self, blobs, perceptron):
        found = DistilledNTKClassifier(perceptron).fit(blobs[0][:90], blobs[1][:90])
        np.testing.assert_array_equal(found.network_.weights[0], perceptron.coefs_[0].T)

    def test_is_forgotten_by_a_clone_unless_it_is_frozen(self, blobs, perceptron):
        frozen = pytest.importorskip("sklearn.frozen").FrozenEstimator(perceptron)
        x, labels = blobs[0][:90], blobs[1][:90]
        for kept in (frozen, dntk.as_model(perceptron)):
            found = clone(DistilledNTKClassifier(kept)).fit(x, labels)
            np.testing.assert_array_equal(found.network_.weights[0], perceptron.coefs_[0].T)
        anew = clone(DistilledNTKClassifier(perceptron)).fit(x, labels)
        assert np.max(np.abs(anew.network_.weights[0] - perceptron.coefs_[0].T)) > 0.001

    def test_that_is_not_fitted_is_left_alone_and_warned_of(self, blobs):
        net = MLPClassifier((4,), max_iter=3)
        with pytest.warns(ConvergenceWarning):
            found = DistilledNTKClassifier(net).fit(*blobs)
        assert not hasattr(net, "coefs_")
        assert net.random_state is None
        assert found.network_.weights[0].shape == (4, 4)

    def test_may_take_images_and_is_pickled_with_its_fit(self):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
        x, digits = load_digits(return_X_y=True)
        x, y = (x[digits < 3] / 16).reshape(-1, 1, 8, 8)[:200], digits[digits < 3][:200]
        found = clone(DistilledNTKClassifier(torch.nn.Sequential(*layers).eval())).fit(x, y)
        assert found.score(x, y) > 0.9
        assert isinstance(found.predict_proba(x), np.ndarray)
        again = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(again.predict_proba(x), found.predict_proba(x))

    def test_may_take_tokens(self):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Embedding(20, 4), torch.nn.Flatten(), torch.nn.Linear(24, 2)).eval()
        tokens = np.random.default_rng(0).integers(20, size=(40, 6))
        assert DistilledNTKClassifier(net).fit(tokens, tokens[:, 0] > 9).score(tokens, tokens[:, 0] > 9) > 0.8

    def test_may_be_of_jax(self, blobs, perceptron):
        pytest.importorskip("jax")
        x, net = blobs[0][:20], dntk.as_model(perceptron)
        made = TangentFeatureMap(net.to("jax", dtype="float32"), sketch=None).fit(x)
        features = made.transform(x)
        assert isinstance(features, np.ndarray)
        assert features.dtype == np.float32
        expected = TangentFeatureMap(net, sketch=None).fit_transform(x)
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-5 * np.max(np.abs(expected)))


def test_arrays_of_every_library_are_taken_and_answered_by_numpy(library, blobs):
    x, labels = blobs
    codes = np.unique(labels, return_inverse=True)[1]
    estimator = DistilledNTKClassifier(MLPClassifier((4,), max_iter=10))
    found = clone(estimator).fit(library.array(x, "float32"), library.array(codes))
    again = found.predict_proba(library.array(x, "float32"))
    assert isinstance(again, np.ndarray)
    expected = estimator.fit(x.astype(np.float32), codes).predict_proba(x.astype(np.float32))
    np.testing.assert_array_equal(again, expected)


class TestRandomStates:
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_repeat_the_result(self, estimator, blobs):
        x, y = blobs[0][:30], np.unique(blobs[1][:30], return_inverse=True)[1]
        last = "transform" if estimator is TangentFeatureMap else "predict"
        last = "decision_function" if estimator is DistilledNTKClassifier else last

        def result(state):
            return getattr(estimator(random_state=state).fit(x, y), last)(x)

        np.testing.assert_array_equal(result(3), result(3))
        np.testing.assert_array_equal(result(np.random.RandomState(3)), result(np.random.RandomState(3)))
        assert np.any(result(3) != result(4))
        assert np.any(result(None) != result(None))

    def test_reach_the_distillation(self, blobs):
        x, labels = blobs[0][:30], blobs[1][:30]
        big = dntk.as_model(MLPClassifier((800,), max_iter=1, random_state=0).fit(x, labels))
        fits = [DistilledNTKClassifier(big, random_state=state).fit(x, labels).fit_ for state in (1, 2)]
        assert fits[0].sketch is not None
        assert fits[0].sketch != fits[1].sketch


class TestInScikitLearn:
    def test_parameters_are_kept_as_they_are_given(self, perceptron):
        given = {"model": perceptron, "sketch": SparseSign(16), "random_state": np.random.RandomState(0)}
        for estimator in ESTIMATORS:
            got = estimator(**given).get_params(deep=False)
            assert all(got[name] is value for name, value in given.items())

    def test_a_pipeline_is_searched_and_cross_validated(self, blobs):
        x, labels = blobs
        net = MLPClassifier(max_iter=20)
        steps = make_pipeline(StandardScaler(), DistilledNTKClassifier(net, gradients=None))
        grid = {
            "distillntkclassifier__model__hidden_layer_sizes": [(3,), (12,)],
            "distillntkclassifier__ridge": [0.1, "loo"],
        }
        grid = {name.replace("distillntk", "distilledntk"): values for name, values in grid.items()}
        search = GridSearchCV(steps, grid, cv=2, scoring="neg_log_loss").fit(x, labels)
        assert search.best_score_ > -np.log(3)
        assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))
        assert np.mean(cross_val_score(search.best_estimator_, x, labels, cv=3)) > 0.6

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames_give_names_to_columns_and_take_those_of_features(self, library, blobs):
        frames = pytest.importorskip(library)
        x, labels = blobs
        frame = frames.DataFrame({name: x[:, place] for place, name in enumerate("abcd")})
        found = DistilledNTKClassifier().fit(frame, labels)
        assert list(found.feature_names_in_) == list("abcd")
        np.testing.assert_array_equal(found.predict(frame), DistilledNTKClassifier().fit(x, labels).predict(x))
        with pytest.raises(ValueError, match="feature names should match"):
            found.predict(frame[["b", "a", "c", "d"]])
        made = TangentFeatureMap(sketch=SparseSign(16)).set_output(transform=library).fit_transform(frame)
        assert isinstance(made, frames.DataFrame)
        assert list(made.columns)[-1] == "tangentfeaturemap15"
