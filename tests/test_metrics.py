"""Accuracy, fidelity and mean squared error against NumPy and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from dntk.metrics import accuracy, fidelity, mean_squared_error, predicted_labels
from tests.libraries import host


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_predicted_class_is_that_of_the_largest_output(library):
    outputs = draw((50, 4))
    labels = predicted_labels(library.array(outputs))
    expected = [max(range(4), key=lambda c, row=row: row[c]) for row in outputs]
    np.testing.assert_array_equal(host(labels), expected)


def test_ties_go_to_the_lower_class(library):
    outputs = np.asarray([[1, 1, 1], [0, 2, 2], [3, 1, 3], [-1, -1, -2]], dtype=np.float32)
    np.testing.assert_array_equal(host(predicted_labels(library.array(outputs))), [0, 1, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_output_is_positive_for_the_second_class(library, dtype):
    outputs = np.asarray([[0.5], [-0.5], [0.0], [-0.0], [1e-30]], dtype=dtype)
    labels = predicted_labels(library.array(outputs))
    np.testing.assert_array_equal(host(labels), [1, 0, 0, 0, 1])
    assert host(labels).dtype.kind == "i"


def test_accuracy_is_the_share_of_right_classes(library):
    outputs, labels = draw((31, 3)), np.random.default_rng(1).integers(0, 3, 31)
    expected = sklearn.metrics.accuracy_score(labels, np.argmax(outputs, axis=1))
    actual = accuracy(library.array(outputs), library.array(labels))
    assert type(actual) is float
    assert abs(actual - expected) <= 31 * np.finfo(np.float32).eps


def test_accuracy_of_one_output_compares_its_sign(library):
    outputs = np.asarray([[0.5], [-0.5], [2.0], [0.0]], dtype=np.float32)
    assert accuracy(library.array(outputs), library.array(np.asarray([1, 0, 0, 0]))) == 0.75


def test_fidelity_is_the_share_of_equal_classes(library):
    ours, theirs = draw((31, 3)), draw((31, 3), 1)
    expected = sklearn.metrics.accuracy_score(np.argmax(ours, axis=1), np.argmax(theirs, axis=1))
    actual = fidelity(library.array(ours), library.array(theirs))
    assert abs(actual - expected) <= 31 * np.finfo(np.float32).eps
    assert fidelity(library.array(ours), library.array(3 * ours)) == 1


def test_fidelity_of_one_output_compares_signs(library):
    ours = library.array(np.asarray([[1.0], [-1.0], [2.0], [3.0]], dtype=np.float32))
    theirs = library.array(np.asarray([[5.0], [-0.1], [-2.0], [3.0]], dtype=np.float32))
    assert fidelity(ours, theirs) == 0.75


def test_mean_squared_error_is_that_of_scikit_learn(library):
    ours, theirs = draw((31, 3)), draw((31, 3), 1)
    expected = sklearn.metrics.mean_squared_error(ours.astype(float), theirs.astype(float))
    actual = mean_squared_error(library.array(ours), library.array(theirs))
    assert abs(actual - expected) <= 93 * np.finfo(np.float32).eps * expected


@pytest.mark.usefixtures("unchecked")
def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match=r"`labels` has dtype float64.*shape \(2,\).*integer classes"):
        accuracy(np.ones((2, 2)), np.ones(2))


@pytest.mark.usefixtures("unchecked")
def test_one_hot_labels_are_refused():
    with pytest.raises(TypeError, match=r"`labels` has dtype int64.*shape \(2, 2\).*shape \(n,\)"):
        accuracy(np.ones((2, 2)), np.eye(2, dtype=np.int64))


@pytest.mark.usefixtures("unchecked")
def test_another_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="`labels` has 3 entries, but there are 2 points"):
        accuracy(np.ones((2, 2)), np.ones(3, dtype=np.int64))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("metric", [fidelity, mean_squared_error])
@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2, 1)])
def test_outputs_of_other_shapes_are_refused(metric, shape):
    message = rf"`outputs` has shape \(2, 2\), `network_outputs` \({shape[0]}, {shape[1]}\)"
    with pytest.raises(ValueError, match=message):
        metric(np.ones((2, 2)), np.ones(shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("metric", [fidelity, mean_squared_error])
def test_outputs_of_two_libraries_are_refused(metric):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"`outputs` is a numpy ndarray, `network_outputs` is a torch"):
        metric(np.ones((2, 2)), torch.ones((2, 2)))
