"""Several processes at once with one folder of a fit, one folder of features, one file."""

import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import numpy as np
import pytest

import dntk
from dntk import archive, checkpoints
from dntk.archive import locked, write_whole, written_whole
from dntk.checkpoints import Checkpoints
from dntk.distill.data import KernelInducing, RPCholesky
from dntk.distill.gradients import Solution

SPARSE = dntk.sketch.SparseSign(24)
CHOSEN = {"data": RPCholesky(6), "sketch": SPARSE, "gradients": Solution(2)}
MADE = {"data": KernelInducing(1, steps=1, sketch=SPARSE), "sketch": SPARSE, "ridge": 1e-3}


def network(seed=0):
    rng = np.random.default_rng(seed)
    weights, biases = ((16, 6), (3, 16)), (16, 3)
    made = [tuple(rng.normal(size=size).astype("f4") for size in sizes) for sizes in (weights, biases)]
    return dntk.MLP(weights=made[0], biases=made[1], activation="tanh")


def data(n=30):
    return np.random.default_rng(1).normal(size=(n, 6)).astype("f4")


def chosen(folder, seed=0):
    return dntk.DistilledNTK(network(), seed=seed, **CHOSEN).fit(data(), checkpoint=folder).weights.tobytes()


def made(folder, seed=0):
    return dntk.DistilledNTK(network(), seed=seed, **MADE).fit(data(), checkpoint=folder).weights.tobytes()


def stored(folder, seed=0):
    sketch = dntk.sketch.SparseSign(24, seed=seed)
    phi = dntk.tangent_features(network(), data(30), sketch=sketch, store=dntk.Store(folder, rows=10))
    return phi.values.tobytes()


def kernel(folder, seed=0):
    return dntk.ntk(network(), data(24) + seed, store=dntk.Store(folder, rows=8)).values.tobytes()


CALLS = {"chosen": chosen, "made": made, "stored": stored, "kernel": kernel}


def main(name, folder, groups):
    """Groups of processes that begin one folder at the same time, each with a seed: what each found, a line a group."""
    call = CALLS[name]
    with tempfile.TemporaryDirectory() as place:
        expected = {seed: call(pathlib.Path(place) / str(seed), seed) for seed in (0, 1)}
    for turn, seeds in enumerate(groups):
        start, children = time.time() + 0.02, []
        for seed in seeds:
            if (pid := os.fork()) == 0:
                os._exit(outcome(call, pathlib.Path(folder) / str(turn), seed, expected, start))
            children.append(pid)
        print("".join("=r!?"[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])] for pid in children), flush=True)


def outcome(call, folder, seed, expected, start):
    time.sleep(max(0.0, start - time.time()))
    try:
        return 0 if call(folder, seed) == expected[seed] else 2
    except dntk.StoreError as error:
        return 1 if "belongs to a call with another s" in str(error) else 3
    except Exception:
        traceback.print_exc()  # it would end the process with 1, as if it had been refused
        return 3


def together(name, folder, groups):
    """What processes found: = what one finds alone, r refused, ! something else, ? another error."""
    script = f"from tests.test_together import main; main({name!r}, {str(folder)!r}, {groups})"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_a_manifest_that_another_process_writes_while_a_folder_is_looked_at_is_no_foreign_file(tmp_path, monkeypatch):
    folder, whole, looks = tmp_path / "phi", stored(tmp_path / "other"), pathlib.Path.iterdir

    def after_another_process(self):
        if self == folder and not (folder / "manifest").exists():
            monkeypatch.setattr(pathlib.Path, "iterdir", looks)
            stored(folder)
        return looks(self)

    folder.mkdir()
    monkeypatch.setattr(pathlib.Path, "iterdir", after_another_process)
    assert stored(folder) == whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("name", CALLS)
def test_processes_of_one_call_find_what_one_finds_and_those_of_another_are_refused(name, tmp_path):
    found = together(name, tmp_path, [[0, 0, 0], [0, 1], [0, 0, 0], [1, 0]])
    assert found[::2] == ["===", "==="]
    assert set(found[1::2]) <= {"=r", "r="}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".part", ".lock")]


class TestCheckpoints:
    def test_the_first_of_two_that_make_an_entry_is_that_of_both(self, tmp_path):
        like = np.zeros(1, "f4")
        one, other = (Checkpoints.at(tmp_path / "run", {"data": "a"}) for _ in range(2))

        def overtaken():
            other.kept("entry", lambda: ({"a": np.full(2, 2.0, "f4")}, {"b": 2}), like)
            return {"a": np.full(2, 1.0, "f4")}, {"b": 1}

        found, plain = one.kept("entry", overtaken, like)
        assert (found["a"].tolist(), plain["b"]) == ([2.0, 2.0], 2)
        again, plain = one.kept("entry", lambda: pytest.fail("made twice"), like)
        assert (again["a"].tolist(), plain["b"]) == ([2.0, 2.0], 2)

    def test_a_folder_that_another_call_begins_at_the_same_time_is_theirs(self, tmp_path, monkeypatch):
        first = Checkpoints.at(tmp_path / "run", {"data": "a"})
        monkeypatch.setattr(checkpoints, "present", lambda _: False)  # as it was before they wrote
        (tmp_path / "run" / "call").rename(tmp_path / "call")
        write = archive.write

        def later(*arguments, **options):
            (tmp_path / "call").rename(tmp_path / "run" / "call")
            write(*arguments, **options)

        monkeypatch.setattr(checkpoints, "write", later)
        with pytest.raises(dntk.StoreError, match="belongs to a call with another data"):
            Checkpoints.at(tmp_path / "run", {"data": "b"})
        monkeypatch.undo()
        assert Checkpoints.at(tmp_path / "run", {"data": "a"}) == first


class TestFiles:
    def test_a_file_that_is_not_to_be_replaced_stays(self, tmp_path):
        write_whole(tmp_path / "file", b"first")
        with pytest.raises(FileExistsError), written_whole(tmp_path / "file", replace=False) as stream:
            stream.write(b"second")
        assert (tmp_path / "file").read_bytes() == b"first"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("links", [True, False])
    def test_a_new_file_is_put_and_an_empty_one_replaced(self, links, tmp_path, monkeypatch):
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
        (tmp_path / "empty").touch()
        for name in ("empty", "new"):
            with written_whole(tmp_path / name, replace=False) as stream:
                stream.write(b"content")
            assert (tmp_path / name).read_bytes() == b"content"
            with pytest.raises(FileExistsError), written_whole(tmp_path / name, replace=False) as stream:
                stream.write(b"other")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]

    def test_one_holds_a_lock_at_a_time_and_nothing_is_left(self, tmp_path):
        inside, most = [], []

        def hold():
            for _ in range(20):
                with locked(tmp_path / "work"):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.0005)
                    inside.pop()

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1] * 80
        assert not list(tmp_path.iterdir())

    def test_a_fit_that_is_read_while_others_save_is_one_of_theirs(self, tmp_path):
        fits = [dntk.DistilledNTK(network(seed), **CHOSEN).fit(data()) for seed in (0, 1)]
        known = {fit.predict(data(5)).tobytes() for fit in fits}
        fits[0].save(tmp_path / "fit")
        done, found = threading.Event(), []

        def read():
            while not done.is_set():
                found.append(dntk.load(tmp_path / "fit").predict(data(5)).tobytes())

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for turn in range(10):
            fits[turn % 2].save(tmp_path / "fit")
        done.set()
        for reader in readers:
            reader.join()
        assert len(found) >= 2
        assert set(found) <= known
