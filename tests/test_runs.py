import html
import json
import signal

import numpy as np
import pytest
from typer.testing import CliRunner

import dntk
from dntk import cli, runs
from dntk.archive import StoreError

NETWORKS = """
import numpy as np
import dntk

def network(seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(9, 6)) / 6**0.5, rng.normal(size=(3, 9)) / 3
    return dntk.MLP(weights=weights, biases=(None, None), activation="tanh")

def interrupted():
    import signal
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return network()

def inputs():
    return np.random.default_rng(1).normal(size=(30, 6))

constant = 3
"""
CONFIG = """
[network]
make = "networks_of_runs:network"
arguments = { seed = 4 }

[data]
x = "x.npy"
y = "y.npy"
test_x = "unseen.npz#x"
test_y = "unseen.npz#y"

[fit]
data = { name = "RPCholesky", size = 12 }
sketch = "none"
gradients = { name = "Solution", size = 3 }
ridge = 0.01
seed = 2

[output]
folder = "out"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "networks_of_runs.py").write_text(NETWORKS)
    rng = np.random.default_rng(3)
    np.save(tmp_path / "x.npy", rng.normal(size=(40, 6)))
    np.save(tmp_path / "y.npy", rng.integers(3, size=40))
    np.savez(tmp_path / "unseen.npz", x=rng.normal(size=(10, 6)), y=rng.integers(3, size=10))
    (tmp_path / "config.toml").write_text(CONFIG)
    monkeypatch.delitem(__import__("sys").modules, "networks_of_runs", raising=False)
    return tmp_path


def changed(folder, *replacements, name="changed.toml"):
    text = CONFIG
    for old, new in replacements:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


def command(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def the_fit_by_hand(folder):
    namespace: dict = {}
    exec(NETWORKS, namespace)
    spec = dntk.DistilledNTK(
        namespace["network"](seed=4),
        dntk.distill.data.RPCholesky(12),
        sketch=None,
        gradients=dntk.distill.gradients.Solution(3),
        ridge=0.01,
        seed=2,
    )
    return spec.fit(np.load(folder / "x.npy"), np.load(folder / "y.npy"))


def test_a_run_is_the_fit_that_its_configuration_says(folder):
    configuration = runs.read(folder / "config.toml")
    assert isinstance(configuration, runs.Configuration)
    prepared = runs.prepare(configuration)
    assert isinstance(prepared, runs.Prepared)
    outcome, expected = prepared.run(), the_fit_by_hand(folder)
    assert isinstance(outcome, runs.Outcome)
    assert np.array_equal(outcome.fit.weights, expected.weights)
    stored = dntk.load(folder / "out" / "fit")
    unseen = np.load(folder / "unseen.npz")
    assert np.array_equal(stored.predict(unseen["x"]), expected.predict(unseen["x"]))
    told = runs.read_summary(folder / "out")
    assert told.plain() == outcome.summary.plain()
    assert told.unseen == {
        "points": 10,
        "fidelity": expected.fidelity(unseen["x"]),
        "accuracy": expected.score(unseen["x"], unseen["y"]),
        "network_accuracy": float(np.mean(np.argmax(expected.model(unseen["x"]), 1) == unseen["y"])),
    }
    assert told.certificate is None  # it costs, and was not asked for
    assert not outcome.fit.state.certificate.is_made


def test_the_same_run_again_says_that_it_is_the_same_and_another_is_refused(folder):
    assert runs.prepare(runs.read(folder / "config.toml")).run().repeated is None
    assert runs.prepare(runs.read(folder / "config.toml")).run().repeated
    other = changed(folder, ("ridge = 0.01", "ridge = 0.1"))
    with pytest.raises(FileExistsError, match=r"another \[fit\]"):
        runs.prepare(runs.read(other)).run()
    before = (folder / "out" / "summary.json").read_bytes()
    np.save(folder / "y.npy", np.roll(np.load(folder / "y.npy"), 1))
    with pytest.raises(StoreError, match="another set of targets"):
        runs.prepare(runs.read(folder / "config.toml")).run()
    assert (folder / "out" / "summary.json").read_bytes() == before


def test_without_checkpoint_a_run_on_other_data_is_refused_too_and_what_was_there_stays(folder):
    config = changed(folder, ('folder = "out"', 'folder = "out"\ncheckpoint = false'))
    runs.prepare(runs.read(config)).run()
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert set(before) == {"fit", "summary.json", "report.html"}
    np.save(folder / "x.npy", 2 * np.load(folder / "x.npy"))
    with pytest.raises(FileExistsError, match="other points"):
        runs.prepare(runs.read(config)).run()
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


def test_a_folder_of_other_files_is_refused_before_the_work(folder):
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match=r"files of no run \(thesis.tex\)"):
        runs.prepare(runs.read(folder / "config.toml")).run()
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.tex"]


def test_inputs_and_networks_come_from_functions_and_other_libraries_take_the_files(folder):
    torch = pytest.importorskip("torch")
    (folder / "torch_networks_of_runs.py").write_text(
        "from torch import nn\nimport torch\n"
        "def network():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).eval()\n"
    )
    config = changed(
        folder,
        ('make = "networks_of_runs:network"', 'make = "torch_networks_of_runs:network"\nparameters = "2.*"'),
        ("arguments = { seed = 4 }", ""),
        ('folder = "out"', 'folder = "out"\ncertify = true'),
    )
    outcome = runs.prepare(runs.read(config)).run()
    assert isinstance(outcome.fit.weights, torch.Tensor)
    assert outcome.summary.parameters == 5 * 3 + 3
    assert outcome.summary.certificate["outputs"] == 3
    assert outcome.summary.certificate == outcome.fit.certificate.to_dict()
    functions = changed(
        folder, ('x = "x.npy"', 'x = "networks_of_runs:inputs"'), ('y = "y.npy"\n', ""), ('"out"', '"f"')
    )
    assert runs.prepare(runs.read(functions)).run().summary.losses.points == 30


def test_a_run_regresses_on_what_its_configuration_says(folder):
    joint = changed(folder, ("ridge = 0.01", 'ridge = 0.01\nregression = { name = "Joint" }'), ('"out"', '"joint"'))
    outcome = runs.prepare(runs.read(joint)).run()
    assert outcome.fit.losses.together
    assert outcome.fit.state.weights.shape[0] == 1
    assert dntk.load(folder / "joint" / "fit").predict(np.load(folder / "x.npy")).shape == (40, 3)


@pytest.mark.parametrize(
    ("replacements", "message"),
    [
        ((("seed = 2", 'seed = 2\nregression = "joint"'),), "fit.regression"),
        ((("seed = 2", 'seed = 2\nregression = { name = "Joined" }'),), "expected one of Functionals, Joint, Separate"),
        ((("[fit]", "[fitt]"),), "fitt is .*expected one of the tables network, data, fit, output"),
        ((("ridge = 0.01", "rigde = 0.01"),), "fit.rigde is 0.01, expected one of the keys"),
        ((("ridge = 0.01", "ridge = -1"),), "fit.ridge is -1, expected a number"),
        ((("ridge = 0.01", 'ridge = "big"'),), "fit.ridge is 'big', expected one of 'loo'"),
        ((("seed = 2", "seed = true"),), "fit.seed is True, expected a whole number"),
        ((("seed = 2", "tolerance = 2"),), "fit.tolerance is 2, expected a number"),
        ((('x = "x.npy"\ny', "y"),), "expected the key 'x': a file with inputs"),
        ((('"networks_of_runs:network"', '"networks_of_runs"'),), "network.make is .*expected a function as"),
        ((("[network]", "[network"),), "is no TOML file"),
        ((('sketch = "none"', "sketch = 400"),), "fit.sketch"),
        ((('"RPCholesky"', '"RPCholeski"'),), "fit.data.name is 'RPCholeski', expected one of .*KMeans"),
        ((("size = 12", "sise = 12"),), "fit.data.sise is unknown: RPCholesky takes size"),
        ((("size = 12", "size = 0"),), "fit.data: RPCholesky cannot be made"),
        ((('"networks_of_runs:network"', '"no_such_module:network"'),), "there is no module 'no_such_module'"),
        ((('"networks_of_runs:network"', '"networks_of_runs:net"'),), "has no 'net'"),
        ((('"networks_of_runs:network"', '"networks_of_runs:constant"'),), "is a int, expected a function"),
        ((('"x.npy"', '"missing.npy"'),), "data.x: there is no .*missing.npy"),
        ((('"x.npy"', '"config.toml"'),), "data.x: .* cannot be read as an array"),
        ((('"unseen.npz#x"', '"unseen.npz"'),), "holds x, y: name one, unseen.npz#x"),
        ((('test_x = "unseen.npz#x"\n', ""),), "give data.test_x, too"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(folder, replacements, message):
    with pytest.raises((ValueError, OSError), match=message):
        runs.prepare(runs.read(changed(folder, *replacements)))


def test_a_module_of_the_same_name_in_another_folder_is_not_taken_for_it(folder, tmp_path_factory):
    runs.prepare(runs.read(folder / "config.toml"))
    other = tmp_path_factory.mktemp("other")
    for path in folder.glob("*.*"):
        (other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="is loaded already"):
        runs.prepare(runs.read(other / "config.toml"))


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_the_training_catches_ends_the_run(folder):
    config = changed(
        folder, ('"networks_of_runs:network"', '"networks_of_runs:interrupted"'), ("arguments = { seed = 4 }", "")
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        runs.prepare(runs.read(config))
    assert signal.getsignal(signal.SIGINT) is before


def test_pickles_are_not_read(folder):
    np.save(folder / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as an array .*Python objects"):
        runs.prepare(runs.read(folder / "config.toml"))


def test_commands_run_compare_and_report(folder):
    dry = command("run", folder / "config.toml", "--dry-run")
    assert dry.exit_code == 0
    assert "exact kernel" in dry.output
    assert not (folder / "out").exists()
    done = command("run", folder / "config.toml", "--json")
    told = json.loads(done.stdout)
    assert told == json.loads((folder / "out" / "summary.json").read_text())
    other = changed(folder, ('"out"', '"wide"'), ("size = 12", "size = 24"), ('y = "y.npy"\n', ""))
    assert "→ 24 → 3 gradients" in command("run", other).output
    compared = command("compare", folder / "out", folder / "wide")
    assert "different targets" in compared.output
    kept = next(line for line in compared.output.splitlines() if line.startswith("│ kept"))
    assert [cell.strip() for cell in kept.strip("│").split("│")] == ["kept", "12", "24"]
    page = folder / "again.html"
    assert command("report", folder / "out", "--out", page).exit_code == 0
    assert page.read_text() == (folder / "out" / "report.html").read_text()
    assert command("report", folder / "out", "--files").exit_code == 0
    assert (folder / "out" / "report-spectrum.csv").read_text().startswith("rank,eigenvalue,lower,upper\n1,")
    assert command("run", folder / "config.toml").exit_code == 0  # files of a report are no other files
    assert runs.read_summary(folder / "out").verdict.split(";")[0] in page.read_text()


def test_the_page_of_a_run_says_what_its_summary_says(folder):
    summary = runs.prepare(runs.read(folder / "config.toml")).run().summary
    runs.write_report(summary, folder / "page.html")
    page = (folder / "page.html").read_text()
    assert page.index(html.escape(summary.verdict)) < page.index("<table")
    assert "No certificate was asked for" in page
    assert summary.unseen["accuracy"] is not None  # labels are there; what a summary has not are features
    assert "No reliability: it needs features" in page
    for digest in summary.digests.values():
        assert digest in page
    assert json.loads((folder / "out" / runs.SUMMARY).read_text())["digests"] == summary.digests


def test_an_interrupt_says_that_the_same_command_goes_on(folder, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Prepared, "run", interrupted)
    stopped = command("run", folder / "config.toml")
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr


def test_comparing_needs_two_runs_that_ended(folder):
    with pytest.raises(FileNotFoundError, match="not the folder of a run that ended"):
        runs.read_summary(folder)
    runs.prepare(runs.read(folder / "config.toml")).run()
    summary = runs.read_summary(folder / "out")
    with pytest.raises(ValueError, match="two runs or more"):
        runs.compared({"out": summary})


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"format": "dntk.run"}', b"\xff", b"[" * 100_000])
def test_damaged_summaries_are_told(folder, damage):
    (folder / "summary.json").write_bytes(damage)
    with pytest.raises(StoreError, match="damaged or foreign"):
        runs.read_summary(folder)


def test_every_number_of_a_summary_is_checked(folder):
    runs.prepare(runs.read(folder / "config.toml")).run()
    path = folder / "out" / "summary.json"
    told = json.loads(path.read_text())
    for name in told:
        path.write_text(json.dumps({**told, name: -1}))
        with pytest.raises(StoreError, match=name):
            runs.read_summary(folder / "out")
