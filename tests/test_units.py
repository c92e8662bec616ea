"""Finished units of `dntk reproduce`: read back as they were made, or named."""

import pytest

units = pytest.importorskip("dntk_studies.reproduce.units")
VALUE = {"1": [1.5, None], 2: ("x", float("nan"))}


def test_what_was_stored_is_read_and_not_made_again(tmp_path):
    stored = units.Units(tmp_path, "key")
    first = stored.value("one", lambda: VALUE)
    assert str(first) == str(stored.value("one", dict)) == "{'1': [1.5, None], '2': ['x', nan]}"
    assert units.Units(tmp_path, "another").value("one", lambda: 3) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.5", "2.5"), ('"sha256": "', '"sha256": "0'), ("sha256", "sha255"), ("null", "nul"), (None, "[]")],
)
def test_a_unit_that_was_changed_is_named(old, new, tmp_path):
    stored = units.Units(tmp_path, "key")
    stored.value("one", lambda: VALUE)
    file = tmp_path / "units" / "one.json"
    file.write_text(new if old is None else file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=r"one\.json is damaged .* delete it"):
        stored.value("one", dict)
