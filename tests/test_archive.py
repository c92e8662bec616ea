"""Files and folders that appear whole or not at all."""

import os
import stat

import numpy as np
import pytest

from dntk.archive import read_arrays, read_manifest, write_folder, write_whole, written_whole

MANIFEST = {"format": "thing", "version": 1}


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


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(tmp_path, monkeypatch):
    order, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr("os.fsync", lambda number: (order.append(os.fstat(number).st_size), sync(number)))
    monkeypatch.setattr("os.replace", lambda *paths: (order.append("renamed"), replace(*paths)))
    write_whole(tmp_path / "a.txt", b"12345")
    assert order == [5, "renamed"]
    order.clear()
    write_folder(tmp_path / "folder", {"x": np.ones(3)}, MANIFEST)
    assert len(order) == 3
    assert all(order[:2])
    assert order[2] == "renamed"


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_modes_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a.txt", b"")
        write_folder(tmp_path / "folder", {"x": np.ones(3)}, MANIFEST)
    finally:
        os.umask(before)
    for path, most in ((tmp_path / "a.txt", 0o666), (tmp_path / "folder", 0o777)):
        assert stat.S_IMODE(path.stat().st_mode) == most & ~mask


def test_a_folder_gives_back_what_was_written_and_replaces_what_was_stored(tmp_path):
    for value in (1.0, 2.0):
        write_folder(tmp_path / "folder", {"x": np.full(3, value)}, MANIFEST)
        manifest = read_manifest(tmp_path / "folder", {"thing": 1})
        np.testing.assert_array_equal(read_arrays(tmp_path / "folder", manifest)["x"], np.full(3, value))
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
