"""Bad input: every line of docs/errors.md on every library, and a sample of what tests/bad_input throws."""

import collections
import importlib.util

import numpy as np
import pytest

import dntk
from tests import error_page
from tests.bad_input.judge import tried
from tests.bad_input.scene import Bad, Entry, Scene
from tests.bad_input.trials import run
from tests.error_table import TABLE, WORDS
from tests.raw_references import raw_references

pytestmark = pytest.mark.usefixtures("unchecked")

ROWS = [row for rows in TABLE.values() for row in rows]


@pytest.fixture(scope="module", params=WORDS)
def scene(request):
    """The names that the table's lines use, and the words of their library."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    found = error_page.names(request.param)
    found["other"] = found["host"] if request.param == "torch" else found.get("torch_x")
    return request.param, found


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.given[:60])
def test_bad_input_is_told_what_the_page_says(scene, row):
    library, names = scene
    needed = row.needs or ("torch" if "other" in row.given else "")
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    if library in row.but:
        pytest.skip(f"{library} takes it, or its networks say something else")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its class and its whole message are compared below
        eval(row.given, names)
    assert f"{type(caught.value).__name__}: {caught.value}" == f"{row.error}: {row.told(WORDS[library])}"


def test_the_page_shows_the_table():
    assert error_page.PAGE.read_text(encoding="utf-8") == error_page.page()


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.array(0.5), 0.5])
def test_ridges_of_other_libraries_are_numbers(scene, number):
    _, names = scene
    for ridge in (number, names["targets"][0, 0] * 0 + 0.5):
        fit = dntk.solve.ridge(names["phi"], names["targets"], ridge=ridge)
        assert fit.ridge == 0.5
        assert type(fit.ridge) is float


@pytest.mark.parametrize("library", WORDS)
def test_a_sample_of_bad_input_is_refused_in_words_and_never_answered(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    cases = run((library,), every_nth=199 if library == "jax" else 61)
    outcomes = collections.Counter(case.outcome for case in cases)
    assert [case for case in cases if case.outcome in ("nonsense", "foreign")] == []
    assert outcomes["documented"] > 20


def test_the_judge_tells_words_from_accidents():
    scene = Scene("numpy")

    def outcome(call, value=None):
        value = Bad("x", None) if value is None else value
        return tried(scene, Entry("entry", "x", "input", call), value).outcome

    two = Bad("2", np.int64(2), same=2)
    assert outcome(lambda s, v: dntk.ntk(s.model, v)) == "documented"
    assert outcome(lambda s, v: s.host_x + object() + v) == "foreign"
    assert outcome(lambda s, v: vars(s)[v]) == "foreign"
    assert outcome(lambda s, v: (s.x, v)) == "nonsense"
    assert outcome(lambda s, v: s.host_x + int(v), two) == "right"
    assert outcome(lambda s, v: s.host_x + v, two) == "nonsense"  # in float64
    assert outcome(lambda s, v: s.host_x if type(v) is int else 0.5, two) == "nonsense"
    assert outcome(lambda s, v: dntk.ntk(s.model, None if v else v), two) == "foreign"


def test_a_fit_is_certified_scored_and_compared_on_lists_of_points_too(scene):
    _, names = scene
    fit, host = names["fit"], names["host"].tolist()
    assert fit.fidelity(host) == fit.fidelity(names["x"])
    assert fit.score(host, names["y"]) == fit.score(names["x"], names["y"])
    assert dntk.certify(names["phi"], fit).points == len(host)


def test_texts_beside_points_of_a_source_are_told_by_their_names(scene):
    # As of scikit-learn's containers of data sets: they were cut like arrays, with Python's own error.
    _, names = scene
    data = {"data": names["x"], "names": ["petal"] * len(names["host"]), "about": "flowers"}
    with pytest.raises(TypeError, match=r"`x1\['about'\]` is a str: pass an array"):
        dntk.ntk(names["model"], data)


@pytest.mark.parametrize(("given", "number"), [(np.int64(3), 3), (np.uint8(3), 3), (np.array(3), 3), (3, 3)])
def test_parts_keep_integers_of_python_whatever_they_were_given(given, number):
    parts = [
        dntk.distill.data.KMeans(given, seed=given),
        dntk.distill.data.Herding(given),
        dntk.distill.gradients.Solution(given, seed=given),
        dntk.distill.gradients.LocalGlobal(size=given, clusters=given),
        dntk.sketch.Gaussian(given, seed=given),
    ]
    assert all(
        type(value) is int for part in parts for name, value in vars(part).items() if name in ("size", "dim", "seed")
    )
    assert parts[0] == dntk.distill.data.KMeans(number, seed=number)


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("<p>[<code>dntk.ntk</code>][] and [one][dntk.two]</p>", ["[<code>dntk.ntk</code>][]", "[one][dntk.two]"]),
        ('<p><a href="x">dntk.ntk</a> K[i][j]</p><pre>x[i][j]</pre>', []),
    ],
)
def test_references_that_are_no_links_are_found_in_built_pages(tmp_path, page, found):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/page.html").write_text(page, encoding="utf-8")
    assert raw_references(tmp_path) == [f"sub/page.html: {text}" for text in found]
