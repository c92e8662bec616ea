"""The digits that ship with scikit-learn, split and shifted."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dntk_studies.datasets import digits, shifted_digits


def rows(*parts):
    """Image and label of every point, as one sortable key each."""
    return sorted((tuple(x), int(y)) for part in parts for x, y in zip(part.x, part.y, strict=True))


def test_parts_have_the_sizes_asked_for_and_leave_the_rest_to_the_test():
    data = digits(train=200, validation=50)
    assert data.name == "digits"
    assert [len(part.x) for part in (data.train, data.validation, data.test)] == [200, 50, 1547]
    for part in (data.train, data.validation, data.test):
        assert part.x.shape == (len(part.y), 64)
        assert part.x.dtype == np.float32
        assert part.y.dtype == np.int64


def test_parts_are_disjoint_and_together_are_the_data_set():
    data = digits(train=700, validation=300, seed=5)
    x, y = load_digits(return_X_y=True)
    whole = sorted((tuple((image / 16).astype(np.float32)), int(label)) for image, label in zip(x, y, strict=True))
    assert rows(data.train, data.validation, data.test) == whole
    assert len(set(whole)) == 1797  # no image occurs twice, so equal lists mean disjoint parts


def test_pixels_are_scaled_to_the_unit_interval():
    data = digits()
    assert np.min(data.train.x) == 0
    assert np.max(data.train.x) == 1


def test_defaults_are_those_of_the_documentation():
    data = digits()
    assert (len(data.train.x), len(data.validation.x)) == (1000, 300)
    np.testing.assert_array_equal(data.train.x, digits(train=1000, validation=300, seed=0).train.x)


def test_same_seed_gives_the_same_split():
    first, second = digits(seed=3), digits(seed=3)
    np.testing.assert_array_equal(first.test.x, second.test.x)
    np.testing.assert_array_equal(first.test.y, second.test.y)


def test_another_seed_gives_another_split():
    first, second = digits(seed=3), digits(seed=4)
    same = np.mean(np.all(first.train.x == second.train.x, axis=1))
    assert same < 0.05


def test_larger_parts_contain_smaller_ones():
    np.testing.assert_array_equal(digits(train=10).train.x, digits(train=20).train.x[:10])


def test_every_class_is_in_every_part():
    data = digits()
    for part in (data.train, data.validation, data.test):
        assert set(part.y.tolist()) == set(range(10))


def test_validation_may_be_empty():
    assert len(digits(train=10, validation=0).validation.x) == 0


def test_one_test_point_may_be_left():
    assert len(digits(train=1796, validation=0).test.x) == 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("train", "validation"), [(1797, 0), (1000, 797), (0, 10), (-5, 10), (10, -1), (5000, 0)])
def test_sizes_that_leave_no_test_point_are_refused(train, validation):
    message = rf"train={train} and validation={validation} leave no test point of 1797: ask for fewer"
    with pytest.raises(ValueError, match=message):
        digits(train=train, validation=validation)


@pytest.mark.usefixtures("unchecked")
def test_bad_seed_is_refused():
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        digits(seed=-1)


def test_shifted_digits_are_each_training_image_and_its_eight_shifts_by_one_pixel():
    plain, shifted = digits(train=50, validation=0, seed=3), shifted_digits(train=50, seed=3)
    assert shifted.train.x.shape == (450, 64)
    np.testing.assert_array_equal(shifted.train.x[:50], plain.train.x)
    np.testing.assert_array_equal(shifted.test.x, plain.test.x)
    np.testing.assert_array_equal(shifted.train.y, np.tile(plain.train.y, 9))
    image = plain.train.x[7].reshape(8, 8)
    found = {shifted.train.x[7 + 50 * shift].tobytes() for shift in range(9)}
    expected = set()
    for rows, columns in itertools.product((-1, 0, 1), repeat=2):
        moved = np.zeros((8, 8), dtype=np.float32)  # by a loop over pixels, what falls off is lost
        for i, j in itertools.product(range(8), repeat=2):
            if 0 <= i + rows < 8 and 0 <= j + columns < 8:
                moved[i + rows, j + columns] = image[i, j]
        expected.add(moved.tobytes())
    assert found == expected
