"""Targets of regressions, and class labels made into targets."""

import numpy as np
import pytest

from dntk._target_checks import check_labels, check_targets
from dntk.targets import one_hot
from tests.libraries import host


def test_one_hot_targets_are_centred(library):
    labels = library.array(np.asarray([2, 0, 1, 2]))
    like = library.array(np.ones(1, np.float32))
    targets = one_hot(labels, 4, like=like)
    expected = np.asarray([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]) - 0.25
    assert targets.dtype == like.dtype
    assert targets.device == like.device
    np.testing.assert_array_equal(host(targets), expected)


def test_one_hot_rows_sum_to_zero():
    targets = one_hot(np.arange(10) % 3, 3, like=np.ones(1))
    np.testing.assert_allclose(np.sum(targets, axis=1), 0, atol=3 * np.finfo(np.float64).eps)


@pytest.mark.parametrize(
    "dtype",
    [
        np.int8,
        np.int32,
        np.int64,
        np.uint8,
    ],
)
def test_labels_of_any_integer_type_are_classes(dtype):
    targets = one_hot(np.asarray([0, 1, 1], dtype=dtype), 2, like=np.ones(1))
    np.testing.assert_array_equal(targets, [[0.5, -0.5], [-0.5, 0.5], [-0.5, 0.5]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1, 3], "has labels from 0 to 3, but the classes are 0 to 2"), ([-1, 1], "has labels from -1 to 1, but")],
)
def test_labels_outside_the_classes_are_refused(library, labels, message):
    with pytest.raises(ValueError, match=f"`labels` {message}"):
        one_hot(library.array(np.asarray(labels)), 3, like=library.array(np.ones(1, np.float32)))


@pytest.mark.usefixtures("unchecked")
def test_labels_of_one_class_are_refused(library):
    labels = library.array(np.asarray([2, 2, 2]))
    message = r"all labels are of one class \(2\): a classifier needs at least two"
    with pytest.raises(ValueError, match=message):
        one_hot(labels, 3, like=library.array(np.ones(1, np.float32)))


@pytest.mark.usefixtures("unchecked")
def test_no_labels_are_refused():
    with pytest.raises(ValueError, match="`labels`"):
        one_hot(np.asarray([], dtype=np.int64), 3, like=np.ones(1))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("labels", [np.ones(3), np.eye(3, dtype=np.int64), np.ones(3, dtype=bool)])
def test_labels_that_are_no_integer_vector_are_refused(labels):
    with pytest.raises(TypeError, match=r"`labels` has dtype .* shape \(.*expected integer classes"):
        one_hot(labels, 3, like=np.ones(1))


@pytest.mark.usefixtures("unchecked")
def test_another_number_of_labels_is_refused():
    with pytest.raises(ValueError, match="`y` has 2 entries, but there are 3 points"):
        check_labels("y", np.asarray([0, 1]), points=3)


def test_targets_take_the_dtype_of_the_features(library):
    values = np.asarray([[1.0, 2.0], [3.0, 4.0]])
    like = library.array(np.ones(1, np.float32))
    targets = check_targets(library.array(values), like, points=2, outputs=2)
    assert targets.dtype == like.dtype
    np.testing.assert_array_equal(host(targets), values)


def test_a_vector_of_targets_serves_one_output(library):
    values = library.array(np.asarray([1.0, 2.0, 3.0], dtype=np.float32))
    targets = check_targets(values, values, points=3, outputs=1)
    assert tuple(targets.shape) == (3, 1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(2, 2), (3, 1), (3,), (3, 2, 1), (2, 3)])
def test_targets_of_other_shapes_are_refused_with_the_expected_one(shape):
    message = r"`targets` has shape \(.*3 points and 2 outputs: expected \(3, 2\).*one_hot"
    with pytest.raises(ValueError, match=message):
        check_targets(np.ones(shape), np.ones(1), points=3, outputs=2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite_are_refused_with_the_row(library, bad):
    values = np.ones((3, 2), np.float32)
    values[1, 0] = bad
    with pytest.raises(ValueError, match=r"`targets` has NaN or infinite .* 1 of its 3 rows \(first: row 1\)"):
        check_targets(library.array(values), library.array(values), points=3, outputs=2)


@pytest.mark.usefixtures("unchecked")
def test_class_labels_as_targets_are_refused():
    with pytest.raises(TypeError, match="`targets` has dtype int64"):
        check_targets(np.asarray([0, 1, 2]), np.ones(1), points=3, outputs=3)


@pytest.mark.usefixtures("unchecked")
def test_targets_of_another_library_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"`features` is a numpy ndarray, `targets` is a torch Tensor"):
        check_targets(torch.ones((3, 2)), np.ones(1), points=3, outputs=2)
