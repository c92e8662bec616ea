"""What a release is made with: archives that are the same again, licences, and words that have to agree."""

import importlib.metadata
import importlib.util
import io
import pathlib
import tarfile
import tomllib

import pytest

import dntk

ROOT = pathlib.Path(__file__).parent.parent


def script(name):
    spec = importlib.util.spec_from_file_location(f"release_{name}", ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("licence", "bad"),
    [
        ("MIT", False),
        ("BSD-3-Clause AND 0BSD AND MIT", False),
        ("Apache-2.0 OR GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("unknown", True),
        ("Proprietary", True),
    ],
)
def test_licences_that_ask_for_more_than_to_be_named_are_refused(licence, bad):
    assert script("licences").refused(licence) is bad


def test_the_bill_of_materials_has_what_is_installed_and_every_licence_may_be_passed_on():
    licences = script("licences")
    found = licences.closure("dntk", {"all"})
    assert {"numpy", "scipy", "scikit-learn", "typer", "rich"} <= set(found)
    assert "pytest" not in found
    bill = licences.bill(found, "dntk")
    by_name = {part["bom-ref"]: part for part in bill["components"]}
    assert by_name["numpy"]["version"] == importlib.metadata.version("numpy")
    assert bill["metadata"]["component"]["name"] == "dntk"
    edges = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    assert "numpy" in edges["dntk"]
    assert all(set(needed) <= set(edges) for needed in edges.values())
    assert not [name for name, each in found.items() if licences.refused(licences.licence_of(each))]


def archive(folder, name, times):
    path = folder / name
    with tarfile.open(path, "w:gz") as made:
        for place, time in times:
            info = tarfile.TarInfo(place)
            info.size, info.mtime, info.uname, info.uid = 3, time, str(time), int(time)
            made.addfile(info, io.BytesIO(place[-3:].encode()))
    return path


def test_sources_that_were_packed_at_other_times_in_another_order_come_out_the_same(tmp_path):
    levelled = script("build_twice")._levelled
    one = levelled(archive(tmp_path, "one.tar.gz", [("p/one", 1.5), ("p/two", 2)]), 10**9)
    two = levelled(archive(tmp_path, "two.tar.gz", [("p/two", 7), ("p/one", 8.25)]), 10**9)
    assert one == two
    with tarfile.open(fileobj=io.BytesIO(one)) as read:
        assert [(m.name, m.mtime, m.uname) for m in read.getmembers()] == [("p/one", 10**9, ""), ("p/two", 10**9, "")]
        assert read.extractfile("p/one").read() == b"one"
    other = levelled(archive(tmp_path, "other.tar.gz", [("p/one", 1), ("p/six", 2)]), 10**9)
    assert other != one


def test_the_oldest_row_of_the_matrix_has_every_dependency_at_its_first_release():
    matrix = script("matrix")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(matrix.lowest()) == len(project["dependencies"])
    assert "numpy==2.0.*" in matrix.lowest()
    asked = {row.python for row in matrix.rows()}
    assert {"3.11", "3.12", "3.13", "3.14"} == asked
    assert matrix._python("0.1") is None


def test_the_version_is_the_same_wherever_it_stands():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == dntk.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {dntk.__version__}\n" in citation
    assert f"license: {project['license']}\n" in citation
    assert f"## [{dntk.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_docs_of_every_version_are_built_like_those_of_one():
    config = pytest.importorskip("mkdocs.config")
    one, every = (config.load_config(str(ROOT / name)) for name in ("mkdocs.yml", "mkdocs.versions.yml"))
    assert set(every.plugins) - set(one.plugins) == {"mike"}
    assert set(one.plugins) <= set(every.plugins)
    handler = every.plugins["mkdocstrings"].config["handlers"]
    assert handler == one.plugins["mkdocstrings"].config["handlers"]
    assert "python" in handler
    assert every.strict
    assert every.nav == one.nav
