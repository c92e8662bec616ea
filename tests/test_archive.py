"""Files and archives that appear whole or not at all, and what is in them."""

import errno
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from dntk import solve
from dntk.archive import (
    Format,
    Stored,
    StoreError,
    checksum,
    collect,
    collect_below,
    collect_beside,
    expanded,
    fingerprint,
    packed,
    present,
    read,
    schema,
    to_host,
    unpacked,
    write,
    write_whole,
    written_whole,
)
from dntk.checkpoints import Checkpoints, KeptRows
from tests.libraries import LIBRARIES, host
from tests.networks import mlp

THING = Format(name="thing", version=1, kind="thing", reader="read", fields={"size": schema.integer(0, 100)})
OTHER = Format(name="other", version=1, kind="second thing", reader="read_second", fields={})


def arrays():
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(3, 4)), "y": rng.normal(size=5).astype("f4"), "n": np.arange(3), "e": np.ones((0, 2))}


def stored(path, **changes):
    write(path, THING, arrays(), {"size": 3} | changes)
    return path


def resigned(content, change):
    """An archive whose text was edited and signed again."""
    import hashlib

    length = int.from_bytes(content[:8], "little")
    text = change(content[8 : 8 + length])
    whole = len(text).to_bytes(8, "little") + text + content[8 + length :]
    place = 8 + len(b'{"__metadata__":{"sha256":"')
    digest = hashlib.sha256(whole[:place] + whole[place + 64 :]).hexdigest().encode()
    return whole[:place] + digest + whole[place + 64 :]


def test_a_file_is_written_with_the_folders_that_it_needs(tmp_path):
    write_whole(tmp_path / "a" / "b.txt", b"whole")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"whole"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_file_that_fails_half_way_leaves_the_one_before(tmp_path):
    write_whole(tmp_path / "a.txt", b"before")

    def half():
        with written_whole(tmp_path / "a.txt") as stream:
            stream.write(b"half")
            stream.write("a text, which a stream of bytes refuses")

    with pytest.raises(TypeError, match="bytes"):
        half()
    assert (tmp_path / "a.txt").read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another_and_its_folder_after(tmp_path, monkeypatch):
    order, sync, replace = [], os.fsync, os.replace

    def synced(number):
        folder = stat.S_ISDIR(os.fstat(number).st_mode)
        order.append("folder" if folder else os.fstat(number).st_size)
        sync(number)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", lambda *paths: (order.append("renamed"), replace(*paths)))
    write_whole(tmp_path / "a.txt", b"12345")
    assert order == [5, "renamed", "folder"]
    order.clear()
    path = stored(tmp_path / "archive")
    assert order == [path.stat().st_size, "renamed", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    write_whole(tmp_path / "secret", b"old")
    (tmp_path / "secret").chmod(mode)
    (tmp_path / "link").symlink_to("secret")
    seen = []
    for name in ("secret", "link"):
        with written_whole(tmp_path / name) as stream:
            seen.append(os.fstat(stream.fileno()).st_mode & 0o777)
            stream.write(b"new")
    assert (tmp_path / "secret").read_bytes() == b"new"
    assert seen == [mode, mode]  # before there is anything to be read
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == mode


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_modes_follow_the_umask_and_never_let_a_file_run(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a.txt", b"")
        stored(tmp_path / "archive")
        stored(tmp_path / "archive")
    finally:
        os.umask(before)
    for name in ("a.txt", "archive"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


def test_an_archive_gives_back_what_was_written_and_replaces_what_was_stored(tmp_path):
    for size in (1, 2):
        back = read(stored(tmp_path / "archive", size=size), THING)
        assert back.manifest == {"size": size}
        for name, value in arrays().items():
            np.testing.assert_array_equal(back.arrays[name], value)
            assert back.arrays[name].dtype == value.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


def test_an_archive_is_a_safetensors_file_that_others_read(tmp_path):
    from safetensors import safe_open

    with safe_open(stored(tmp_path / "archive"), framework="numpy") as other:
        assert json.loads(other.metadata()["manifest"]) == {"format": "thing", "version": 1, "size": 3}
        for name, value in arrays().items():
            np.testing.assert_array_equal(other.get_tensor(name), value)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.id)
def test_arrays_of_every_library_are_stored(library, tmp_path):
    if library.why_not():
        pytest.skip(library.why_not())
    value = library.array(np.arange(6, dtype="f4").reshape(2, 3))
    write(tmp_path / "archive", THING, {"x": value}, {"size": 1})
    np.testing.assert_array_equal(read(tmp_path / "archive", THING).arrays["x"], host(value))


@pytest.mark.parametrize("name", ["torch", "jax.numpy"])
def test_bfloat16_keeps_its_bits_and_its_name(name, tmp_path):
    from dntk.backend import backend_of

    xp = pytest.importorskip(name)
    value = xp.asarray([1.0, 1 / 3, -2e30, 3e-40, float("inf")], dtype=xp.bfloat16)
    write(tmp_path / "archive", THING, {"x": value, "y": value[0]}, {"size": 1})
    back = read(tmp_path / "archive", THING)
    assert back.narrow == {"x", "y"}
    placed = back.place("x", backend_of(value))
    assert placed.dtype == value.dtype
    assert bool((placed == value).all())
    assert back.arrays["y"].shape == ()
    from safetensors import safe_open

    with safe_open(tmp_path / "archive", framework="pt") as other:
        assert str(other.get_tensor("x").dtype) == "torch.bfloat16"


def test_what_cannot_be_stored_or_read_again_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="cannot store the array 'z' of dtype complex128"):
        write(tmp_path / "a", THING, {"z": np.ones(2) * 1j}, {"size": 1})
    with pytest.raises(ValueError, match="size is 101, expected a whole number from 0 to 100"):
        write(tmp_path / "a", THING, {}, {"size": 101})
    assert not list(tmp_path.iterdir())


def test_foreign_files_are_never_overwritten_and_empty_ones_are(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a stored thing"):
        stored(tmp_path / "thesis")
    with pytest.raises(FileExistsError, match="not a stored thing"):
        stored(tmp_path)
    (tmp_path / "empty").touch()
    assert not present(tmp_path / "empty")
    assert present(stored(tmp_path / "empty"))
    assert (tmp_path / "thesis").read_text() == "years of work"


def test_what_is_no_archive_is_the_librarys_error_with_the_path_and_a_remedy(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("{}" * 100)
    (tmp_path / "short").write_bytes(b"\x01")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    messages = {
        "empty": "is empty",
        "text": "is no thing",
        "short": "is no thing",
        "loop": "cannot be read",
        "old": "folder of an earlier dntk",
        ".": "is a folder",
        "pipe": "is a device or pipe",
        "text/below": "cannot be read",
        "\0": "cannot be read",
    }
    for name, message in messages.items():
        with pytest.raises(StoreError, match=message) as caught:
            read(tmp_path / name, THING)
        assert str(tmp_path) in str(caught.value)
        assert ": " in str(caught.value)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read(tmp_path / "nowhere", THING)
    with pytest.raises(StoreError, match=r"holds a thing, not a second thing: read it with read\."):
        read(stored(tmp_path / "archive"), OTHER, others=(THING,))
    with pytest.raises(StoreError, match="holds 'thing', not a second thing"):
        read(tmp_path / "archive", OTHER)


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.replace(rb"\"version\": 1", rb"\"version\": 9"), "format version 9"),
        (lambda b: b.replace(rb"\"size\": 3", rb"\"size\": -3"), "size is -3"),
        (lambda b: b.replace(rb"\"size\": 3", rb"\"size\": NaN"), "size is nan"),
        (lambda b: b.replace(rb"\"size\": 3", rb"\"size\": true"), "size is True"),
        (lambda b: b.replace(rb"\"size\": 3", rb"\"Size\": 3"), "expected the fields"),
        (lambda b: b.replace(rb"\"size\": 3", rb"\"size\": " + DEEP), "header that is none"),
        (lambda b: b.replace(b'"shape":[3,4]', b'"shape":[4,4]'), "header that is none"),
        (lambda b: b.replace(b'"shape":[3,4]', b'"shape":[-3,-4]'), "header that is none"),
        (lambda b: b.replace(b'"shape":[3,4]', b'"shape":[3,4,' + b"4294967296," * 40 + b"0]"), "header that is none"),
        (lambda b: b.replace(b'"F64"', b'"F99"'), "header that is none"),
        (lambda b: b.replace(b'"data_offsets":[0,96]', b'"data_offsets":[8,104]'), "header that is none"),
        (lambda b: b[:-40], "header that is none"),
        (lambda b: b[:92] + b'"manifest":"' + DEEP + b'"}}', "header that is none"),
        (lambda b: b[:92] + b'"manifest":[]}}', "header that is none"),
    ],
)
def test_what_was_edited_and_signed_again_is_checked_before_anything_is_made_of_it(tmp_path, change, message):
    path = stored(tmp_path / "archive")
    path.write_bytes(resigned(path.read_bytes(), change))
    with pytest.raises(StoreError, match=message):
        read(path, THING)


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    content, path = stored(tmp_path / "archive").read_bytes(), tmp_path / "damaged"
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(StoreError):
            read(path, THING)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(StoreError):
            read(path, THING)
    path.write_bytes(content + b"\0")
    with pytest.raises(StoreError):
        read(path, THING)


def test_a_link_is_followed_and_kept(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "archive")
    for size in (1, 2):
        stored(tmp_path / "link", size=size)
        assert read(tmp_path / "disk" / "archive", THING).manifest["size"] == size
    assert (tmp_path / "link").is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["archive"]


def test_the_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    stored("~/archive")
    assert present("~/archive")
    assert read("~/archive", THING).path == tmp_path / "archive" == expanded("~/archive")


def test_what_a_dead_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    stored(tmp_path / "archive")
    code = "import os, sys, pathlib; from dntk.archive import written_whole\n"
    code += "with written_whole(pathlib.Path(sys.argv[1])) as s: s.write(b'half'); s.flush(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "archive")], check=False)
    (tmp_path / ".archive.elsewhere-0123.part").write_bytes(b"of another machine, today")
    (tmp_path / ".archive2.part").write_bytes(b"of another name")
    assert len(list(tmp_path.iterdir())) == 4
    with written_whole(tmp_path / "archive") as stream:
        stream.write(b"slow")
        stored(tmp_path / "archive")
        assert len(list(tmp_path.glob(".archive.*.part"))) == 2
    assert (tmp_path / "archive").read_bytes() == b"slow"
    os.utime(tmp_path / ".archive.elsewhere-0123.part", (0, 0))
    (tmp_path / "archive").unlink()
    stored(tmp_path / "archive")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".archive2.part", "archive"]


@pytest.mark.parametrize("ahead", [-10, 10])
def test_clocks_of_machines_that_differ_decide_nothing(ahead, tmp_path, monkeypatch):
    # On a shared disk files bear the time of the disk's machine; a day is what a writer elsewhere may take.
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + ahead * 24 * 3600)
    written, left = tmp_path / ".archive.elsewhere-0123.part", tmp_path / ".archive.elsewhere-4567.part"
    written.write_bytes(b"of another machine, which is writing")
    left.write_bytes(b"of another machine, two days ago")
    os.utime(left, (now - 2 * 24 * 3600,) * 2)
    stored(tmp_path / "archive")
    assert written.exists()
    assert not left.exists()


def test_who_goes_on_removes_what_a_writer_left_that_was_killed_with_its_file_in_place(tmp_path):
    # A new entry is put by a second name of its file; the first is there for a moment, and nobody writes it again.
    code = "import os, sys, pathlib; from dntk import checkpoints; pathlib.Path.unlink = lambda *_, **__: os._exit(9)\n"
    code += "checkpoints.Checkpoints.at(sys.argv[1], {'data': 'a'})"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "fit")], check=False)
    assert len(list((tmp_path / "fit").glob(".call.*.part"))) == 1
    (left,) = (tmp_path / "fit").glob(".call.*.part")
    ending = left.name.removeprefix(".call")
    chunks = [(np.eye(3), np.eye(3)[:, :1])]
    solve.accumulate(chunks, checkpoint=tmp_path / "sums")
    for name in (f".sums{ending}", f".other{ending}"):
        (tmp_path / name).write_bytes(b"half")
    Checkpoints.at(tmp_path / "fit", {"data": "a"})
    solve.accumulate(chunks, checkpoint=tmp_path / "sums")
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["call"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".other{ending}", "fit", "sums"]
    collect_beside(tmp_path / "another")
    assert (tmp_path / f".other{ending}").exists()
    collect(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit", "sums"]


def test_who_goes_on_removes_what_was_left_of_entries_that_nobody_opens_again(tmp_path, monkeypatch):
    folder = Checkpoints.at(tmp_path / "fit", {"data": "a"})
    rows = KeptRows(folder, "objective.data/features-20")
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)  # as one killed after its file was in place
    rows.rows(0, 2, lambda: np.ones((1, 2, 3)), np.ones(1))
    monkeypatch.undo()
    (left,) = (tmp_path / "fit").rglob(".*.part")
    assert left.parent == tmp_path / "fit/objective.data/features-20"
    with left.open("rb") as stream:  # who writes it still holds its lock
        fcntl.flock(stream, fcntl.LOCK_EX)
        Checkpoints.at(tmp_path / "fit", {"data": "a"})
        assert left.exists()
    Checkpoints.at(tmp_path / "fit", {"data": "a"})
    assert not left.exists()
    assert rows.holds(0, 2)
    left.write_bytes(b"half")
    collect(tmp_path)
    assert left.exists()
    collect_below(tmp_path)
    assert not left.exists()


def test_a_disk_that_is_too_full_is_said_before_anything_is_written(tmp_path, monkeypatch):
    import shutil

    stored(tmp_path / "archive")
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1000, 900, 100))
    with pytest.raises(OSError, match=r"archive takes [\d,]+ bytes, its disk has 100 free") as caught:
        stored(tmp_path / "archive", size=4)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left: .*archive takes [\d,]+ bytes") as caught:
        stored(tmp_path / "archive", size=5)
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]
    assert read(tmp_path / "archive", THING).manifest["size"] == 3


def test_readers_and_writers_of_one_file_see_whole_archives_only(tmp_path):
    path, found, failed = stored(tmp_path / "archive", size=0), [], []

    def writer(size):
        for _ in range(25):
            stored(path, size=size)

    def reader():
        while any(thread.is_alive() for thread in writers):
            try:
                found.append(read(path, THING).manifest["size"])
            except Exception as error:
                failed.append(error)

    writers = [threading.Thread(target=writer, args=(size,)) for size in (1, 2)]
    readers = [threading.Thread(target=reader) for _ in range(2)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in (*writers, *readers):
        thread.join()
    assert not failed
    assert found
    assert set(found) <= {0, 1, 2}
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


WRITER = """
import pathlib, sys
import numpy as np
from dntk.archive import Format, schema, write
path = pathlib.Path(sys.argv[1])
THING = Format(name="thing", version=1, kind="thing", reader="read", fields={"size": schema.integer(0, 100)})
print("ready", flush=True)
for turn in range(10_000):
    write(path, THING, {"x": np.full(200_000, turn, dtype="f4")}, {"size": turn % 100})
"""


def test_a_writer_that_is_killed_leaves_a_whole_archive(tmp_path):
    import random
    import time

    path, before = tmp_path / "archive", -1
    for kill in range(2):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        while not path.exists():
            time.sleep(0.001)
        time.sleep(random.Random(kill).uniform(0.01, 0.05))
        process.kill()
        process.wait()
        process.stdout.close()
        back = read(path, THING)
        assert np.unique(back.arrays["x"]).size == 1
        assert back.arrays["x"][0] % 100 == back.manifest["size"] != before
        path.unlink()
    stored(path)
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


def test_digests_are_the_same_in_every_library(library):
    values = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.float32(3.5)}
    placed = {name: library.array(value) for name, value in values.items()}
    assert checksum(placed) == checksum(values)
    assert to_host(placed["b"]).shape == ()
    assert fingerprint(mlp(library)) == fingerprint(mlp(LIBRARIES[0]))
    for other in (
        {"a": values["a"].reshape(3, 2), "b": values["b"]},
        {"b": values["a"], "a": values["b"]},
        {"a": values["a"].astype("f8"), "b": values["b"]},
        {"a": values["a"] + 1, "b": values["b"]},
    ):
        assert checksum(other) != checksum(values)


def test_shapes_are_checked_by_letters(tmp_path):
    stored = Stored(path=tmp_path, manifest={}, arrays=arrays())
    sizes = {"k": 4}
    assert stored.array("x", "c k", sizes).shape == (3, 4)
    assert stored.array("x", "c ...", sizes) is stored.arrays["x"]
    assert sizes == {"c": 3, "k": 4}
    for name, axes, kind in (("x", "k c", "floating"), ("x", "c", "floating"), ("x", "c k m", "floating")):
        with pytest.raises(StoreError, match="expected"):
            stored.array(name, axes, sizes, kind=kind)
    with pytest.raises(StoreError, match=r"of shape \(0, 2\), expected \(n, k\)"):
        stored.array("e", "n k", {})
    with pytest.raises(StoreError, match="of int64, expected floating"):
        stored.array("n", "c", sizes)
    stored.arrays["x"][1, 2] = np.inf
    with pytest.raises(StoreError, match="'x' that is not finite"):
        stored.array("x", "c k", sizes)
    with pytest.raises(StoreError, match="has no array 'w'"):
        stored.array("w", "c", sizes)


def test_an_archive_in_memory_is_the_file_that_it_would_be(tmp_path):
    form = Format(name="test", version=1, kind="test", reader="nobody", fields={"of": schema.text})
    content = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array([True, False])}
    write(tmp_path / "file", form, content, {"of": "two"})
    held = packed(form, content, {"of": "two"})
    assert held.tobytes() == (tmp_path / "file").read_bytes()
    found = unpacked(held, form, name="parcel")
    assert found.manifest == {"of": "two"}
    for name, value in content.items():
        np.testing.assert_array_equal(found.arrays[name], value)
    held = held.copy()
    held[-1] ^= 1
    with pytest.raises(StoreError, match="parcel is damaged or cut off"):
        unpacked(held, form, name="parcel")


def test_paths_that_cannot_be_are_told():
    unknown = r"home directory of the path .*: write it out instead of ~nobody_of_this_name"
    for call in (stored, present, lambda path: read(path, THING)):
        with pytest.raises(ValueError, match=unknown):
            call("~nobody_of_this_name/fit")
    with pytest.raises(ValueError, match="`path` has a null character: .*Pass a path without it"):
        stored("a\0b")
