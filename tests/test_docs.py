"""Documentation that runs: every Python fence of a page, in order, in one namespace."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import dntk
from tests import pages

ROOT = pathlib.Path(__file__).parent.parent
PAGES_WITH_COMMANDS = ("README.md", "CONTRIBUTING.md", ".ci/run")

# Pages show what users have: no run-time checks.
pytestmark = [pytest.mark.deep, pytest.mark.usefixtures("unchecked")]


def run(page: str) -> dict:
    """Namespace that the page's Python leaves behind; what it prints has to stand under it."""
    ran = pages.run(ROOT / page)
    assert not ran.differences(), "\n\n".join([*ran.differences(), f"python -m tests.pages {page} renews the page"])
    return ran.names


def test_what_the_tutorial_says_is_so():
    said = run("docs/tutorial.md")
    assert dntk.spectrum.truncation_rank(said["kernel"]) < 30
    assert said["fidelity"]["Solution"] >= max(said["fidelity"].values())
    assert abs(said["fidelity"]["Solution"] - said["full"]) < 0.002  # one test point
    trust = said["distilled"].trust
    assert trust(said["noise"]).mean() > 2 * trust(said["x_test"]).mean()
    assert said["low"][0] <= said["residuals"].mean() <= said["high"][0]
    assert len(said["residuals"]) == 800
    assert said["least"][0] <= said["within"].trust(said["x_test"]).mean() <= said["most"][0]
    assert said["within"].certificate.tolerance.met


def test_the_example_of_the_readme_runs():
    estimator = run("README.md")["distilled"]
    assert estimator.losses.kept_points == 500
    assert estimator.losses.gradients == 40


def test_features_on_the_disk_are_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run("docs/bigger_than_memory.md")
    assert isinstance(said["phi"], dntk.StoredFeatures)
    assert (tmp_path / "features.npy").is_file()


def test_the_cluster_of_the_page_makes_the_bits_of_one_process(tmp_path):
    pytest.importorskip("distributed")
    (fence,) = pages.FENCE.finditer((ROOT / "docs/clusters.md").read_text(encoding="utf-8"))
    (tmp_path / "page.py").write_text(fence["code"], encoding="utf-8")
    subprocess.run([sys.executable, "page.py"], cwd=tmp_path, check=True, env=os.environ | {"DNTK_CHECK": "0"})
    assert len(dntk.StoredFeatures(tmp_path / "run")) == 2000


def test_the_configuration_of_the_page_runs_and_says_what_stands_there(tmp_path):
    text = (ROOT / "docs/command_line.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```', text, re.MULTILINE | re.DOTALL))
    assert set(blocks) == {"my_network.py", "config.toml"}
    for name, content in blocks.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "dntk.cli", "run", str(tmp_path / "config.toml")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    verdict = done.stdout.splitlines()[0].rpartition("; ")[0]  # what follows are seconds
    assert verdict in text


def test_networks_and_data_of_every_form_are_taken_as_the_page_says():
    pytest.importorskip("torch")
    for package in ("equinox", "flax"):
        pytest.importorskip(package)
    said = run("docs/your_network.md")
    assert said["kernel"].shape == said["kernel_without_mask"].shape == (40, 40)
    assert said["fit"].indices.shape == (30,)
    assert said["same_kernel"].shape == (60, 60)
    assert said["by_sequence"].shape == (40, 40)
    assert said["nnx_kernel"].shape == said["equinox_kernel"].shape == (20, 20)


def test_the_backend_of_the_guide_conforms_to_the_protocol():
    said = run("docs/backends.md")
    assert isinstance(said["entry"].load(), dntk.backend.Backend)


def test_what_the_page_on_data_distillation_says_is_so(tmp_path, monkeypatch):
    pytest.importorskip("ot")
    monkeypatch.chdir(tmp_path)
    said = run("docs/data_distillation.md")
    gap = said["data"].history["misalignment_gap"]
    assert min(gap) < gap[0]
    lost = {name: est.losses.data_trace_residual for name, est in said["fits"].items()}
    assert lost["tangent residual"] < lost["coreset"]
    assert len(said["images"]) == 10
    assert (tmp_path / "distilled.png").exists()


def test_what_the_page_on_attribution_says_is_so(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    said = run("docs/attribution.md")
    assert (tmp_path / "attribution.svg").exists()
    assert np.isin(said["suspects"], said["wrong"]).sum() >= 7
    assert np.mean(said["y"][said["top"].indices[:, 0]] == said["y_test"]) > 0.7
    np.testing.assert_allclose(
        said["parts"].sum(), said["left"].predict(said["asked"])[0, said["y_test"][0]], rtol=1e-5
    )


def test_the_report_of_the_page_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = run("docs/report.md")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{said['fit'].fidelity(said['x_test']):.1%}" in page
    assert "fit.report(path" not in page, "the example gives all that a page asks for"


def test_what_the_page_on_strangers_says_is_so(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    said = run("docs/strangers.md")
    assert (tmp_path / "strangers.svg").exists()
    assert said["flagged"]["known"] < 0.08
    assert said["flagged"]["noise"] > 0.95
    assert said["auroc"]["noise"][0] > 0.99
    assert said["auroc"]["digits 7 to 9"][0] < said["auroc"]["digits 7 to 9"][1], "the page says that softmax is better"


def test_what_the_page_on_probabilities_says_is_so(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    said = run("docs/probabilities.md")
    assert (tmp_path / "reliability.svg").exists()
    rows = said["said"]
    assert rows["probit"][0] < rows["the network"][0], "likelihood"
    assert rows["probit"][3] > rows["the network"][3] - 0.02, "mistakes"
    assert rows["probit"][4] > rows["the network"][4] + 0.1, "strangers"
    assert said["tau"].mean() > 0.9


def test_what_the_page_on_choosing_says_is_so(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    curves = run("docs/choosing.md")["curves"]
    for name in ("LCMD", "k-means"):
        assert curves[name][3] > curves["random"][5], "eighty labels are worth more than 120"
        assert curves[name][1] > curves["random"][2]
    assert (tmp_path / "choosing.svg").exists()


def test_what_the_page_on_training_says_is_so(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    said = run("docs/trajectory.md")
    full = dntk.trajectory(said["models"], said["x"], said["targets"], distilled=None, size=5, sketch=None)
    few = said["few"]
    np.testing.assert_allclose(few.eigenvalues.values, full.eigenvalues.values, rtol=0.1)
    np.testing.assert_allclose(few.alignment.values, full.alignment.values, rtol=0.1)
    assert np.all((few.drift.lower <= full.drift.values) & (full.drift.values <= few.drift.upper + 1e-9))
    assert (tmp_path / "trajectory.svg").exists()


def test_the_networks_of_the_page_on_jax_are_models():
    said = run("docs/jax.md")
    x, fn, params = said["x"], said["fn"], said["params"]
    jacobian = said["jax"].jacrev(fn)(params, x)
    rows = [leaf.reshape(20, 2, -1) for leaf in said["jax"].tree.leaves(jacobian)]
    kernel = sum(said["jnp"].einsum("icp,jcp->ij", row, row) for row in rows) / 2
    assert abs(said["kernel"] - kernel).max() < 1e-5 * kernel.max()
    assert set(said["last_layer"].parameters) == {"out.w", "out.b"}
    for name in ("nnx_model", "linen_model", "same", "equinox_model"):
        assert said[name](x).shape == (20, 2)


def test_what_the_page_on_scikit_learn_says_is_so():
    pytest.importorskip("torch")
    said = run("docs/scikit_learn.md")
    assert said["accuracy"] > 0.94
    assert said["believed"] < said["accuracy"]
    assert said["calibrated_loss"] < said["loss"] < 0.5
    assert said["own_accuracy"] > 0.9
    assert said["frozen"].shape == said["anew"].shape == (2,)
    assert set(said["best"]) == {"model__hidden_layer_sizes", "gradients"}
    assert said["r2"] > 0.8
    assert len(said["names"]) == 512
    assert said["linear_r2"] > 0.7


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # by linear_operator
def test_what_the_page_on_other_libraries_says_is_so(tmp_path, monkeypatch):
    for package in ("torch", "zarr"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    said = run("docs/interop.md")
    assert said["svm_accuracy"] > 0.8
    assert said["difference"] < 1e-10
    assert len(said["core"].indices) == 20
    if "gpytorch" in said:
        assert said["gap"] < 1e-3  # GPyTorch adds jitter of its own, and may iterate
        assert abs(said["ours"].variance[:, 0] - said["variance"]).max() < 1e-3
    if "operator" in said:
        dense = said["tensor"] @ said["tensor"].T + 0.1 * said["torch"].eye(400, dtype=said["torch"].float64)
        assert abs(dense @ said["solution"] - said["vector"]).max() < 1e-6
        assert abs(said["log_determinant"] - said["torch"].logdet(dense)) < 1e-6


REST = [
    "cost",
    "progress",
    "reference/certificates",
    "reference/distillation",
    "reference/models",
    "reference/sketches",
]


@pytest.mark.parametrize("page", REST)
def test_what_other_pages_show_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(f"docs/{page}.md")


def test_every_page_with_code_is_run():
    with_code = {
        str(page.relative_to(ROOT))
        for page in (ROOT / "docs").rglob("*.md")
        if pages.FENCE.search(page.read_text("utf-8"))
    }
    known = pathlib.Path(__file__).read_text(encoding="utf-8")
    assert with_code - {f"docs/{page}.md" for page in REST} <= set(re.findall(r'"(docs/[\w/]+\.md)"', known))


def test_a_fence_that_needs_what_is_not_installed_is_left_out_and_others_are_not(tmp_path, monkeypatch):
    fence = "<!-- needs: {} -->\n```python\nx = '{}'\n```\n"
    (tmp_path / "page.md").write_text(fence.format("numpy", "ran") + fence.format("no_such_package", "no"))
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert run("page.md")["x"] == "ran"


def test_what_the_page_on_how_many_points_says_is_so():
    said = run("docs/how_many_points.md")
    assert said["agree"]["joint"] > said["agree"]["separate"]
    assert said["fit"].loo_error > 0


def test_the_page_on_testing_says_what_happens():
    said = run("docs/testing.md")
    assert "of 10 properties:\n- pieces: the columns of pieces add up to the whole" in said["message"]
    tests = [value for name, value in said.items() if name.startswith("test_")]
    assert len(tests) == 5
    for test in tests:
        test()


@pytest.mark.parametrize(
    ("under", "right"),
    [
        ("", False),
        ("\n```text\nroot 2 of 1.4142 in 3.1 ms\n```\n", True),
        ("\n```text\nroot 2 of 1.5\n in 99 s\n```\n", True),
        ("\n```text\nsquare 2 of 1.4142 in 3.1 ms\n```\n", False),
        ("\n```text\nroot 2 of … in 3.1 ms\n```\n", True),
        ("\n```text\nroot … power …\n```\n", False),
    ],
)
def test_what_a_fence_prints_has_to_stand_under_it(tmp_path, under, right):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint('root', 2, 'of', 2**0.5, 'in 2 ms')\n```\n" + under + "\nMore.\n", encoding="utf-8"
    )
    ran = pages.run(page)
    assert bool(ran.differences()) is not right
    again = pages.renewed(page.read_text(encoding="utf-8"), ran)
    if right and "…" in under:
        assert under in again
        return
    assert again.endswith("```\n\n```text\nroot 2 of 1.4142135623730951 in 2 ms\n```\n\nMore.\n")
    page.write_text(again, encoding="utf-8")
    assert not pages.run(page).differences()


def test_what_depends_on_the_machine_is_renewed_and_not_compared(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- varies -->\n```python\nprint('slow')\n```\n\n```text\nfast\n```\n", encoding="utf-8")
    ran = pages.run(page)
    assert not ran.differences()
    assert pages.renewed(page.read_text(encoding="utf-8"), ran).endswith("```\n\n```text\nslow\n```\n")


def test_fences_are_found_and_their_errors_are_not_swallowed(tmp_path, monkeypatch):
    page = "one\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n"
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    with pytest.raises(AssertionError) as caught:
        run("page.md")
    assert caught.traceback[-1].lineno + 1 == 8


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_every_make_command_in_the_page_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = re.findall(r"^make ([a-z ]+)", text, re.MULTILINE)
    used = {target for command in commands for target in command.split()}
    assert used
    assert used <= targets


def docs_options():
    """The words of ``make docs`` between ``mkdocs build`` and the folder."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"mkdocs build (.*) --site-dir", makefile)
    return shlex.split(command)


@pytest.mark.parametrize(("page", "fails"), [("Sound.", False), ("[Broken](nowhere.md).", True)])
def test_a_warning_of_the_documentation_is_an_error(tmp_path, page, fails):
    pytest.importorskip("mkdocs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(page, encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: small\ntheme: mkdocs\n", encoding="utf-8")
    build = [sys.executable, "-m", "mkdocs", "build", *docs_options()]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
