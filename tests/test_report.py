"""The page of a fit: its numbers by other ways, its HTML by a parser, its looks in a browser."""

import csv
import html.parser
import importlib.util
import io
import re

import numpy as np
import pytest

import dntk
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Solution
from dntk.estimator.reporting._of_fit import facts_of
from dntk.estimator.reporting.asked import Asked
from dntk.report.images import as_png, grid, pixels_of
from dntk.report.page import table, write_page
from dntk.report.plots import price_plot
from dntk_studies.demo.table import COLUMNS
from tests.browser import browser, look
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
LABELS = np.random.default_rng(5).integers(3, size=20)
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Tags that are open, identifiers, links, pictures and cells of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.unnamed, self.rows = [], [], [], [], []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("href", "src", "xlink:href") if key in found]
        if (tag == "img" and not found.get("alt")) or (tag == "svg" and not found.get("aria-label")):
            self.unnamed.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.rows and self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def cell(self, name):
        return next(row[1] for row in self.rows if row[0] == name)


SIX = Solution(6)


def fitted(library, gradients=SIX, y=None, dtype="f8"):
    x = inputs(library, n=40, dtype=dtype)
    spec = dntk.DistilledNTK(mlp(library, dtype=dtype), RPCholesky(16), gradients=gradients, sketch=None, ridge=1e-2)
    return spec, spec.fit(x, y), x


def facts(fit, certify=False, **asked):
    every = dict.fromkeys(("x", "y", "points", "targets", "queries", "classes", "image_shape", "plan", "link"))
    return facts_of(fit.model, fit.state, Asked(**{**every, **asked}), certify=certify)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A fit, its held-out points, and the folder of its page with everything in it."""
    spec, fit, x = fitted(NUMPY)
    query, folder = inputs(NUMPY, n=20, seed=3, dtype="f8"), tmp_path_factory.mktemp("page")
    names = ["<script>alert(1)</script>", '" onload="x', "&amp;"]
    asked = {"x": query, "y": LABELS, "points": x, "queries": [4, 9], "classes": names, "image_shape": (2, 3)}
    fit.report(folder / "page.html", plan=spec.plan(x), files=True, **asked)
    return fit, query, folder


def test_a_page_is_well_formed_and_asks_for_nothing(full):
    text = (full[2] / "page.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert not page.unnamed
    for link in page.links:
        assert link.startswith("data:image/png;base64,") or link.removeprefix("#") in page.ids, link
    assert "url(http" not in text
    assert "@import" not in text
    assert "<script" not in text
    assert 'onload="' not in text
    assert text.count("<svg") == 5
    assert "<script>alert(1)</script>" in page.text  # said, not run
    assert [tag in text for tag in ("<main>", "<nav ", "<header>", 'lang="en"')] == [True] * 4


def test_the_verdict_stands_before_every_table(full):
    text = (full[2] / "page.html").read_text()
    assert text.index("network's classes kept on 20 others".replace("'", "&#x27;")) < text.index("<table")


def test_numbers_of_a_page_are_those_of_the_fit(full):
    fit, query, folder = full
    page = Page((folder / "page.html").read_text())
    assert page.cell("fidelity") == f"{fit.fidelity(query):.2%}"
    assert page.cell("accuracy") == f"{fit.score(query, LABELS):.2%}"
    assert page.cell("mean tangent residual") == f"{fit.trust(query).mean():.2%}"
    assert page.cell("largest tangent residual") == f"{fit.trust(query).max():.2%}"
    assert page.cell("trace error of the kernel") == f"{float(fit.certificate.trace_error):.4g}"
    assert page.cell("total") == f"{fit.ledger.total().jacobian_rows:,}"
    assert page.cell("SHA-256 of the network") == fit.state.network.identity.digest
    assert page.cell("specification: seed") == "0"
    p = fit.predict_proba(query)
    assert page.cell("expected calibration error") == f"{dntk.metrics.calibration_error(p, LABELS, bins=10):.4g}"
    assert page.cell("exact kernel, foreseen") == "120"
    outputs = fit.model(query)
    distance = np.linalg.norm(fit.predict(query) - outputs) / np.linalg.norm(outputs)
    assert page.cell("distance to the network's outputs, relative") == f"{distance:.2%}"
    assert page.cell("fidelity at the kept points") == f"{fit.losses.fidelity:,.5g}"
    assert page.cell("gradients per output") == str(fit.losses.gradients)
    assert "together" not in {row[0] for row in page.rows}


def test_charts_stand_beside_the_page_with_their_numbers(full):
    fit, query, folder = full
    names = {"coverage", "fidelity", "reliability", "spectrum", "trust"}
    assert {path.name for path in folder.iterdir()} == {"page.html"} | {
        f"page-{name}.{kind}" for name in names for kind in ("png", "csv")
    }
    assert all((folder / f"page-{name}.png").read_bytes().startswith(b"\x89PNG") for name in names)
    rows = list(csv.DictReader(io.StringIO((folder / "page-spectrum.csv").read_text())))
    np.testing.assert_allclose([float(row["eigenvalue"]) for row in rows], fit.spectrum)
    lower, upper = fit.certificate.eigenvalue_intervals
    np.testing.assert_allclose([float(row["lower"]) for row in rows[: len(lower)]], lower)
    np.testing.assert_allclose([float(row["upper"]) for row in rows[: len(upper)]], upper)
    counts = [int(row["points"]) for row in csv.DictReader(io.StringIO((folder / "page-trust.csv").read_text()))]
    np.testing.assert_array_equal(counts, np.histogram(fit.trust(query), bins=20, range=(0, 1))[0])


def test_the_curve_is_the_predictor_projected_on_its_leading_directions(library):
    interpreted(library)
    _, fit, _ = fitted(library, dtype="f4")
    query = inputs(library, n=20, seed=3)
    phi = host(dntk.tangent_features(fit.model, query, sketch=None).values).astype("f8")
    basis, w = host(fit.span.basis).astype("f8"), host(fit.weights).astype("f8")
    network = host(fit.model(query)).argmax(1)
    curve = facts(fit, x=query).unseen.curve
    assert [size for size, _ in curve] == [1, 2, 3, 4, 5, 6]
    for size, fidelity in curve:
        part = [np.linalg.lstsq(b[:size].T, each, rcond=None)[0] @ b[:size] for b, each in zip(basis, w, strict=True)]
        expected = np.stack([p @ each for p, each in zip(phi, part, strict=True)], axis=1)
        assert abs(fidelity - np.mean(expected.argmax(1) == network)) < 1e-6
    assert curve[-1][1] == fit.fidelity(query)


def test_coverage_is_what_the_distilled_kernel_keeps_of_each_eigenvalue(library):
    _, fit, x = fitted(library, dtype="f4")
    kept = library.array(host(x)[host(fit.indices)], "f4")
    exact = host(dntk.ntk(fit.model, kept)).astype("f8")
    values, vectors = np.linalg.eigh(exact)
    expected = np.diagonal(vectors.T @ host(fit.kernel(kept)).astype("f8") @ vectors)[::-1] / values[::-1]
    found = facts(fit, points=x).coverage
    # Eigenvalues 1e-3 of the largest and up: float32 kernels tell smaller ones to few digits.
    large = (values[::-1] > 1e-3 * values[-1])[: len(found)]
    assert large.sum() > 4
    np.testing.assert_allclose(np.asarray(found)[large], expected[: len(found)][large], atol=5e-3)


@pytest.mark.parametrize("gradients", [None, Solution(6)])
@pytest.mark.parametrize("labelled", [False, True])
def test_contributions_and_changes_are_those_of_refits_in_the_span(gradients, labelled):
    y = np.random.default_rng(1).integers(3, size=40) if labelled else None
    _, fit, x = fitted(NUMPY, gradients, y)
    query, m = inputs(NUMPY, n=20, seed=3, dtype="f8"), len(fit.indices)
    found = facts(fit, x=query, points=x, targets=y, queries=[7, 2]).influence
    assert [each.query for each in found] == [7, 2]
    kept = x[fit.indices]
    targets = fit.model(kept) if y is None else np.eye(3)[y][fit.indices] - 1 / 3
    for each in found:
        c = each.predicted
        assert c == fit.predict(query)[each.query].argmax()
        b = fit.span.basis[c]
        z = dntk.tangent_features(fit.model, kept, sketch=None).values[c] @ b.T
        q = dntk.tangent_features(fit.model, query[each.query : each.query + 1], sketch=None).values[c, 0] @ b.T

        def predicted(rows, z=z, q=q, c=c):
            gram = z[rows].T @ z[rows] + fit.ridge * np.eye(z.shape[1])
            return q @ np.linalg.solve(gram, z[rows].T), targets[rows, c]

        weights, own = predicted(np.arange(m))
        np.testing.assert_allclose(each.output, weights @ own, rtol=1e-6)
        terms = weights * own
        expected = np.sort(np.abs(terms))[::-1][:5]
        np.testing.assert_allclose([abs(p.contribution) for p in each.points], expected, rtol=1e-6)
        for point in each.points:
            place = list(fit.indices).index(point.position)
            assert point.label == targets[place].argmax()
            np.testing.assert_allclose(point.contribution, terms[place], rtol=1e-6)
            fewer, others = predicted(np.delete(np.arange(m), place))
            np.testing.assert_allclose(point.change, each.output - fewer @ others, rtol=1e-4, atol=1e-9)


def test_queries_are_those_of_least_trust_where_none_are_chosen():
    _, fit, x = fitted(NUMPY)
    query = inputs(NUMPY, n=20, seed=3, dtype="f8")
    found = facts(fit, x=query, points=x).influence
    assert [each.query for each in found] == list(np.argsort(-fit.trust(query))[:3])


def test_what_was_not_given_is_said_with_the_call_that_gives_it(tmp_path):
    _, fit, _ = fitted(NUMPY)
    fit.report(tmp_path / "page.html", certify=False)
    page = Page((tmp_path / "page.html").read_text())
    assert not fit.state.certificate.is_made
    for call in ("certify=True", "x=x_test, y=y_test", "points=x", "plan=specification.plan(x)", "image_shape=(8, 8)"):
        assert call in page.text
    fit.save(tmp_path / "fit")
    loaded = dntk.load(tmp_path / "fit")
    loaded.report(tmp_path / "loaded.html")
    assert "saved without a certificate" in Page((tmp_path / "loaded.html").read_text()).text
    fit.save(tmp_path / "fit", certify=True)
    dntk.load(tmp_path / "fit").report(tmp_path / "loaded.html")
    assert Page((tmp_path / "loaded.html").read_text()).cell("trace error of the kernel") == (
        f"{float(fit.certificate.trace_error):.4g}"
    )


def test_a_fit_of_distilled_inputs_shows_them_and_explains_by_them():
    x = inputs(NUMPY, n=40, dtype="f8")
    distiller = dntk.distill.data.TangentResidual(8, steps=2)
    fit = dntk.DistilledNTK(mlp(NUMPY, dtype="f8"), distiller, gradients=None, sketch=None, ridge=1e-2).fit(x)
    found = facts(fit, x=inputs(NUMPY, n=5, seed=3, dtype="f8"), points=x, image_shape=(2, 3), queries=[1])
    assert "8 distilled inputs" in found.pictures[0][0]
    assert all(point.position < 8 for point in found.influence[0].points)


def test_without_matplotlib_a_page_has_numbers_and_says_what_draws_them(tmp_path, monkeypatch):
    _, fit, _ = fitted(NUMPY)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    fit.report(tmp_path / "page.html", certify=False)
    page = Page((tmp_path / "page.html").read_text())
    assert "<svg" not in (tmp_path / "page.html").read_text()
    assert 'pip install "dntk[report]"' in page.text
    assert page.cell("1") == f"{float(fit.spectrum[0]):.6g}"
    assert "The numbers" not in page.text  # of which figure? What would stand under it says so


def test_pixels_are_scaled_put_side_by_side_and_encoded():
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for x, shape in ((rng.normal(size=(5, 3, 5, 6)), None), (rng.normal(size=(5, 5, 6, 3)), None)):
        pixels = pixels_of(x, shape)
        assert pixels.shape == (5, 5, 6, 3)
        assert (pixels.min((1, 2, 3)) == 0).all()
        assert (pixels.max((1, 2, 3)) == 255).all()
    sheet = grid(pixels, columns=3)
    assert sheet.shape == (2 * 6 - 1, 3 * 7 - 1, 3)
    np.testing.assert_array_equal(sheet[6:11, 7:13], pixels[4])
    for image in (sheet, pixels_of(rng.normal(size=(1, 6)), (2, 3))[0]):
        decoded = np.asarray(pillow.open(io.BytesIO(as_png(image))))
        np.testing.assert_array_equal(decoded.reshape(image.shape), image)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        ({"y": LABELS}, ValueError, "`y` is given without `x`"),
        ({"queries": [0]}, ValueError, "`queries` is given without `x`"),
        ({"x": inputs(NUMPY, n=20, dtype="f8"), "queries": [0]}, ValueError, "without `points`"),
        ({"x": inputs(NUMPY, n=20, dtype="f8"), "y": LABELS[:3]}, ValueError, "`y`"),
        ({"x": inputs(NUMPY, n=20, d=5, dtype="f8")}, ValueError, "takes 6"),
        ({"points": inputs(NUMPY, n=39, dtype="f8")}, ValueError, "pass the 40 that were fitted"),
        ({"classes": ["a"]}, ValueError, "names of 3 classes"),
        ({"plan": 3}, TypeError, "plan"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(asked, error, match, tmp_path):
    _, fit, _ = fitted(NUMPY)
    with pytest.raises(error, match=match):
        fit.report(tmp_path / "page.html", certify=False, **asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unchecked")
def test_other_points_or_targets_than_those_of_the_fit_are_refused(tmp_path):
    _, fit, x = fitted(NUMPY)
    query = inputs(NUMPY, n=20, seed=3, dtype="f8")
    for wrong in ({"points": x[::-1]}, {"points": x, "targets": np.arange(40) % 3}):
        with pytest.raises(ValueError, match="pass the x and the y that the fit was made with"):
            fit.report(tmp_path / "page.html", x=query, certify=False, **wrong)
    for queries in ([20], [-1], ["a"]):
        with pytest.raises(ValueError, match="from 0 to 19"):
            fit.report(tmp_path / "page.html", x=query, points=x, queries=queries, certify=False)


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_fits_a_screen_and_a_phone_and_says_nothing_on_the_console(full, dark):
    for width in (1200, 390):
        seen = look(full[2], ["page.html"], width=width, dark=dark)
        assert not seen.console
        assert seen.wide == {"page.html": []}


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_the_browser_finds_what_sticks_out_and_what_fails(tmp_path):
    body = '<div style="width: 900px">wide</div><script>nothing()</script>'
    (tmp_path / "bad.html").write_text(f"<!doctype html><html><body>{body}</body></html>")
    seen = look(tmp_path, ["bad.html"], width=390)
    assert seen.wide["bad.html"] == ["div.: wide"]
    assert "nothing is not defined" in seen.console[0]


def test_prices_beside_bars_are_written_out():
    drawn = price_plot({"rows": (116_730, 5_640), "seconds": (87.31, 7.52)}, ("exact", "distilled"))
    assert re.findall(r"<!-- ([\d.,e+]+) -->", drawn) == ["116,730", "87.3", "5,640", "7.52"]


@pytest.mark.skipif(browser() is None, reason="no Chromium is installed")
def test_the_demo_table_fits_a_screen_without_being_moved(tmp_path):
    names = ("the network itself", "distilled, with all gradients of its points", "exact kernel, all 11,673")
    rows = [(name, "116,730", "5,450", "≈ 1,302.3", "0.976", "0.978") for name in names]
    write_page(tmp_path / "page.html", "demo", [table(COLUMNS, rows)])
    page = (tmp_path / "page.html").read_text("utf-8").replace("overflow-x: auto", "overflow-x: visible")
    (tmp_path / "page.html").write_text(page, "utf-8")
    assert look(tmp_path, ["page.html"], width=960).wide == {"page.html": []}
