"""Data sets: what is in them, that their splits hold, and that damaged or hostile files are refused in one line."""

import gzip
import inspect
import io
import pickle
import re
import struct
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from nas.data.cifar10 import CLASS_NAMES, Cifar10
from nas.data.dataset import Source, channel_statistics, stratified
from nas.data.digits import Digits
from nas.data.fashion_mnist import FashionMnist
from nas.data.image_folder import ImageFolder
from nas.data.plain_pickle import read_plain

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs" / "data"
KRIZ = "https://www.cs.toronto.edu/~kriz/cifar.html"


def per_class(labels):
    return np.bincount(labels).tolist()


def rows_of(split):
    return {image.tobytes() for image in split.images}


def refused(source, kind, *phrases):
    """The source is refused in one line that holds the phrases."""
    with pytest.raises(kind) as caught:
        source.load()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    for phrase in phrases:
        assert phrase in message


# --- the splits ------------------------------------------------------------------------------------------------------


def test_a_fraction_of_every_class_is_set_apart():
    labels = np.repeat([0, 1, 2, 3], [100, 10, 2, 1])
    rest, part = stratified(labels, 0.1, seed=0)
    # a tenth of 100 and 10; at least one of 2; none of a class of one, which would vanish from the rest
    assert per_class(labels[part]) == [10, 1, 1]
    assert per_class(labels[rest]) == [90, 9, 1, 1]
    assert sorted([*rest, *part]) == list(range(113))
    assert not (np.diff(rest) > 0).all()


def test_statistics_are_those_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (300, 5, 4, 3), np.uint8)
    images[..., 2] = 51
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], (images / 255).std((0, 1, 2))[:2], rtol=1e-12)
    assert mean[2] == pytest.approx(0.2)
    assert std[2] == 1  # a channel that never varies can still be divided by


def test_digits_are_split_by_class_and_share_no_picture():
    digits = Digits(image_size=8).load()
    counts = [len(split.labels) for split in (digits.train, digits.val, digits.test)]
    assert sum(counts) == 1797
    assert counts[1] == pytest.approx(1797 / 4, abs=5)
    assert counts[2] == pytest.approx(1797 / 6, abs=5)
    # scikit-learn: 178 182 177 183 181 182 181 179 174 180 of the digits 0 to 9
    totals = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    for split, share in ((digits.train, 7 / 12), (digits.val, 1 / 4), (digits.test, 1 / 6)):
        np.testing.assert_allclose(per_class(split.labels), totals * share, atol=1)
    assert len(rows_of(digits.train) | rows_of(digits.val) | rows_of(digits.test)) == 1797  # no two digits are equal


def test_digits_natively_are_scikit_learns_times_255_over_16():
    from sklearn.datasets import load_digits

    digits = Digits(image_size=8).load()
    assert digits.resample == "none"
    assert (digits.native_size, digits.native_max) == (8, 16)
    native = {np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label for image, label in zip(
        load_digits().images, load_digits().target, strict=True)}  # fmt: skip
    for image, label in zip(digits.test.images, digits.test.labels, strict=True):
        assert native[image.tobytes()] == label
    assert digits.train.images.max() == 255


def test_digits_are_enlarged_as_pillow_does():
    small, large = Digits(image_size=8).load(), Digits(image_size=20).load()
    assert large.resample == "bicubic"
    assert large.image_size == 20
    assert large.train.images.shape[1:] == (20, 20, 1)
    by_pillow = Image.fromarray(small.train.images[7, ..., 0]).resize((20, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(large.train.images[7, ..., 0], np.asarray(by_pillow))
    assert large.fingerprint != small.fingerprint


def test_a_seed_moves_train_and_val_and_nothing_else():
    once, again, other = Digits().load(), Digits().load(), Digits(seed=1).load()
    assert once.fingerprint == again.fingerprint != other.fingerprint
    assert len(once.fingerprint) == 16
    np.testing.assert_array_equal(once.test.images, other.test.images)
    assert rows_of(once.val) != rows_of(other.val)
    assert rows_of(once.train) | rows_of(once.val) == rows_of(other.train) | rows_of(other.val)


def test_a_limit_keeps_a_leading_slice_of_train_and_leaves_val_and_test():
    whole, some, few = Digits().load(), Digits(limit=200).load(), Digits(limit=20).load()
    np.testing.assert_array_equal(some.train.images, whole.train.images[:200])
    np.testing.assert_array_equal(few.train.labels, whole.train.labels[:20])
    np.testing.assert_array_equal(few.val.images, whole.val.images)
    np.testing.assert_array_equal(few.test.images, whole.test.images)
    assert min(per_class(some.train.labels)) > 5  # shuffled: 20 a class on average
    assert len(Digits(limit=10**6).load().train.labels) == len(whole.train.labels)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"image_size": 7}, "`image_size` must be a whole number of at least 8 pixels, got 7"),
        ({"val_fraction": 0.0}, "`val_fraction` must lie between 0 and 1"),
        ({"val_fraction": 1.0}, "got 1.0"),
        ({"limit": -1}, "`limit` must be a whole number of at least 1 training image, got -1; null"),
        ({"limit": 0}, "got 0"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0, got -1"),
    ],
)
@pytest.mark.parametrize("source", [Digits, FashionMnist, Cifar10, ImageFolder])
def test_impossible_settings_are_refused_where_they_enter(source, settings, phrase):
    root = {} if source is Digits else {"root": "nowhere"}
    with pytest.raises(ValueError, match="got") as caught:
        source(**root, **settings)
    assert phrase in str(caught.value)


def test_settings_of_one_source_alone_are_checked_too():
    with pytest.raises(ValueError, match="`test_fraction` must lie between 0 and"):
        Digits(test_fraction=0.6, val_fraction=0.5)
    with pytest.raises(ValueError, match=r"`image_channels` must be 1 \(grey\) or 3"):
        ImageFolder(root="nowhere", image_channels=4)


def test_a_network_can_be_sized_before_any_file_is_read():
    for source, channels, size in (
        (Digits(), 1, 32),
        (FashionMnist(root="nowhere"), 1, 28),
        (Cifar10(root="nowhere"), 3, 32),
    ):
        assert isinstance(source, Source)
        assert (source.image_channels, source.classes, source.image_size) == (channels, 10, size)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_yaml_lists_every_argument_with_its_default(path):
    config = OmegaConf.load(path)
    module, _, name = config._target_.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    assert list(config) == ["_target_", *parameters]
    for key, parameter in parameters.items():
        if key == "root":
            assert parameter.default is inspect.Parameter.empty
        else:
            assert config[key] == parameter.default


def test_yaml_takes_its_folder_from_the_environment(monkeypatch):
    for stem in ("cifar10", "fashion_mnist"):
        monkeypatch.setenv("EDGENAS_DATA", "/somewhere")
        assert OmegaConf.load(CONFIGS / f"{stem}.yaml").root == f"/somewhere/{stem}"
        monkeypatch.delenv("EDGENAS_DATA")
        assert OmegaConf.load(CONFIGS / f"{stem}.yaml").root == f"../shared/data/{stem}"
    assert OmegaConf.is_missing(OmegaConf.load(CONFIGS / "image_folder.yaml"), "root")


# --- Fashion-MNIST ---------------------------------------------------------------------------------------------------

FASHION = {"train": 40, "t10k": 20}


def idx(values):
    """An idx file of bytes, by its published header: 0, 0, 8 (uint8), axes, then each axis big-endian."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def fashion(tmp_path):
    """A tiny Fashion-MNIST, gzipped: 4 train and 2 test images a class."""
    rng = np.random.default_rng(0)
    for part, count in FASHION.items():
        images = idx(rng.integers(0, 256, (count, 28, 28), np.uint8))
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = idx((np.arange(count) % 10).astype(np.uint8))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path


def test_idx_files_read_alike_gzipped_or_not(fashion, tmp_path_factory):
    plain = tmp_path_factory.mktemp("plain")
    for path in fashion.iterdir():
        (plain / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    zipped, unzipped = (FashionMnist(root=root, val_fraction=0.25).load() for root in (fashion, plain))
    assert zipped.fingerprint == unzipped.fingerprint
    assert per_class(zipped.val.labels) == [1] * 10
    assert per_class(zipped.train.labels) == [3] * 10
    first_test_image = gzip.decompress((fashion / "t10k-images-idx3-ubyte.gz").read_bytes())[16 : 16 + 28 * 28]
    assert zipped.test.images[0].tobytes() == first_test_image
    assert zipped.resample == "none"
    assert FashionMnist(root=fashion, image_size=14).load().train.images.shape[1:] == (14, 14, 1)


@pytest.mark.parametrize(
    ("name", "change", "phrase"),
    [
        ("train-images-idx3-ubyte.gz", lambda data: data[:-100], "does not unzip"),
        ("train-images-idx3-ubyte.gz", lambda data: data[:200] + b"\0" * 20 + data[220:], "does not unzip"),
        ("train-images-idx3-ubyte.gz", lambda data: b"<html>not found</html>", "does not unzip"),
        ("t10k-labels-idx1-ubyte.gz", lambda data: b"", "too few for an idx header"),
        ("t10k-labels-idx1-ubyte.gz", lambda data: gzip.compress(b"\0\0\x08"), "too few for an idx header"),
        ("train-labels-idx1-ubyte.gz", lambda data: gzip.compress(idx(np.zeros((40, 28, 28), np.uint8))), "0x00000803"),
        ("train-labels-idx1-ubyte.gz", lambda data: gzip.compress(idx(np.full(40, 10, np.uint8))), "label 10"),
        ("train-labels-idx1-ubyte.gz", lambda data: gzip.compress(idx(np.zeros(39, np.uint8))), "39 labels for the 40"),
        ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(idx(np.zeros((40, 27, 28), np.uint8))), "27x28"),
        ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(gzip.decompress(data)[:-1]), "promises 31360"),
        ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12), "promises 7922816"),
    ],
)
def test_damaged_idx_files_are_refused_in_one_line(fashion, name, change, phrase):
    path = fashion / name
    path.write_bytes(change(path.read_bytes()))
    refused(FashionMnist(root=fashion), ValueError, str(path), phrase, "zalandoresearch/fashion-mnist", "data.root=")


def test_missing_idx_files_are_named_with_their_home(fashion):
    (fashion / "t10k-labels-idx1-ubyte.gz").unlink()
    way_out = ("https://github.com/zalandoresearch/fashion-mnist", "data.root=<folder>", "EDGENAS_DATA")
    refused(FashionMnist(root=fashion), FileNotFoundError, str(fashion / "t10k-labels-idx1-ubyte.gz"), *way_out)
    refused(FashionMnist(root=fashion / "no"), FileNotFoundError, str(fashion / "no" / "train-images"), *way_out)


def test_fashion_mnist_is_the_published_one(data_root):
    fashion = FashionMnist(root=data_root / "fashion_mnist").load()
    # 6,000 and 1,000 a class (README of the data); a tenth of the former is val
    assert per_class(fashion.train.labels) == [5400] * 10
    assert per_class(fashion.val.labels) == [600] * 10
    assert per_class(fashion.test.labels) == [1000] * 10
    # widely used constants of the 60,000: mean 0.2860, std 0.3530
    both = np.concatenate([fashion.train.images, fashion.val.images])
    mean, std = channel_statistics(both)
    assert mean[0] == pytest.approx(0.2860, abs=5e-5)
    assert std[0] == pytest.approx(0.3530, abs=5e-5)
    assert len({image.tobytes() for image in both}) >= 59_900  # no row was taken twice


# --- CIFAR-10 --------------------------------------------------------------------------------------------------------

TRAIN, TEST = 50, 20


@pytest.fixture(scope="module")
def cifar_jpegs():
    """JPEG files, the pixels they decode to and their labels: 5 train and 2 test pictures a class."""
    rng = np.random.default_rng(0)
    files, pixels = [], []
    for _ in range(TRAIN + TEST):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "JPEG")
        files.append(file.getvalue())
        pixels.append(np.asarray(Image.open(io.BytesIO(files[-1]))))
    return files, np.stack(pixels), np.arange(TRAIN + TEST) % 10


def npz_arrays(files, labels):
    return {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": labels.astype(np.uint8),
        "class_names": np.array(CLASS_NAMES),
    }


def write_npz(root, files, labels):
    np.savez_compressed(root / "train.npz", **npz_arrays(files[:TRAIN], labels[:TRAIN]))
    np.savez_compressed(root / "test.npz", **npz_arrays(files[TRAIN:], labels[TRAIN:]))


def batches(pixels, labels):
    """Names, rows of red, green and blue planes, and labels of five train batches and the test batch."""
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), 3072)
    for i in range(5):
        part = slice(10 * i, 10 * i + 10)
        yield f"data_batch_{i + 1}", planes[part], labels[part].tolist()
    yield "test_batch", planes[TRAIN:], labels[TRAIN:].tolist()


def write_binary(root, pixels, labels):
    for name, rows, row_labels in batches(pixels, labels):
        data = b"".join(bytes([label]) + row.tobytes() for row, label in zip(rows, row_labels, strict=True))
        (root / f"{name}.bin").write_bytes(data)


def python_2_pickle(rows, labels):
    """The bytes that Python 2's cPickle (protocol 2) gives for a batch of CIFAR-10, written out by hand."""

    def text(value):  # SHORT_BINSTRING
        return b"U" + bytes([len(value)]) + value

    def number(value):  # BININT1 or BININT2
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    return b"".join(
        [
            b"\x80\x02}q\x01(",  # PROTO 2, EMPTY_DICT, MARK
            text(b"batch_label") + b"q\x02" + text(b"training batch 1 of 5") + b"q\x03",
            text(b"labels") + b"q\x04]q\x05(" + b"".join(number(label) for label in labels) + b"e",
            text(b"data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08",
            b"K\x00\x85" + text(b"b") + b"\x87Rq\x09(K\x01",  # _reconstruct(ndarray, (0,), "b"), then its state:
            number(rows.shape[0]) + number(rows.shape[1]) + b"\x86",  # version 1, shape
            b"cnumpy\ndtype\nq\x0a" + text(b"u1") + b"K\x00K\x01\x87Rq\x0b",
            b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",  # state of the dtype
            b"\x89T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb",  # C order; BINSTRING
            text(b"filenames") + b"q\x0c](" + b"".join(text(b"tabby_cat.png") for _ in labels) + b"eu.",
        ]
    )


def python_3_pickle(protocol):
    return lambda rows, labels: pickle.dumps({"labels": labels, "data": np.ascontiguousarray(rows)}, protocol=protocol)


PICKLES = {"py2": python_2_pickle, **{f"py3 protocol {p}": python_3_pickle(p) for p in (2, 3, 4)}}


def write_python(root, pixels, labels, pickled=python_2_pickle):
    for name, rows, row_labels in batches(pixels, labels):
        (root / name).write_bytes(pickled(rows, row_labels))


@pytest.fixture
def cifar(tmp_path, cifar_jpegs):
    write_npz(tmp_path, cifar_jpegs[0], cifar_jpegs[2])
    return tmp_path


@pytest.fixture
def cifar_python(tmp_path, cifar_jpegs):
    write_python(tmp_path, *cifar_jpegs[1:])
    return tmp_path


def test_python_itself_reads_our_python_2_pickle(cifar_jpegs):
    _, rows, labels = next(batches(*cifar_jpegs[1:]))
    batch = pickle.loads(python_2_pickle(rows, labels), encoding="latin1")
    np.testing.assert_array_equal(batch["data"], rows)
    assert batch["labels"] == labels


def test_every_form_of_cifar_gives_the_same_data_set(tmp_path, cifar_jpegs):
    files, pixels, labels = cifar_jpegs
    forms = {"npz": lambda root: write_npz(root, files, labels), "bin": lambda root: write_binary(root, pixels, labels)}
    for name, pickled in PICKLES.items():
        forms[name] = lambda root, pickled=pickled: write_python(root, pixels, labels, pickled)
    loaded = {}
    for name, write in forms.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        loaded[name] = Cifar10(root=tmp_path / name, val_fraction=0.2).load()
    assert len({dataset.fingerprint for dataset in loaded.values()}) == 1, loaded
    for dataset in loaded.values():
        np.testing.assert_array_equal(dataset.test.images, pixels[TRAIN:])
        np.testing.assert_array_equal(dataset.test.labels, labels[TRAIN:])
        assert per_class(dataset.val.labels) == [1] * 10


def test_the_folder_that_an_archive_unpacks_to_may_be_named_or_the_one_above(tmp_path, cifar_jpegs):
    for name, write in (("cifar-10-batches-py", write_python), ("cifar-10-batches-bin", write_binary)):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, *cifar_jpegs[1:])
        assert Cifar10(root=tmp_path).load().fingerprint == Cifar10(root=folder).load().fingerprint


def test_a_complete_form_is_taken_before_an_incomplete_one(cifar_python, cifar_jpegs):
    write_npz(cifar_python, cifar_jpegs[0], cifar_jpegs[2])
    (cifar_python / "test.npz").unlink()
    assert len(Cifar10(root=cifar_python).load().test.labels) == TEST


def test_only_what_is_used_is_decoded(cifar, cifar_jpegs):
    files, _, labels = cifar_jpegs
    kept = Cifar10(root=cifar, limit=3).load()
    used = rows_of(kept.train) | rows_of(kept.val)
    decoded = [np.asarray(Image.open(io.BytesIO(file))).tobytes() for file in files[:TRAIN]]
    broken = [file if image in used else b"broken" for file, image in zip(files, decoded, strict=False)]
    write_npz(cifar, [*broken, *files[TRAIN:]], labels)
    assert Cifar10(root=cifar, limit=3).load().fingerprint == kept.fingerprint
    refused(Cifar10(root=cifar), ValueError, "JPEG file")


def test_missing_cifar_files_are_named_with_their_home(cifar, cifar_python):
    nowhere = cifar / "nowhere"
    refused(Cifar10(root=nowhere), FileNotFoundError, str(nowhere), KRIZ, "data.root=<folder>", "EDGENAS_DATA")
    (cifar / "test.npz").unlink()
    (cifar / "data_batch_3").unlink()  # five of six are more complete than one of two
    refused(Cifar10(root=cifar), FileNotFoundError, str(cifar / "data_batch_3"), KRIZ, "data.root=<folder>")


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"jpeg": None}, "jpeg"),
        ({"labels": np.full(TRAIN, 10)}, "label 10 of picture 0 is not 0 to 9"),
        ({"labels": np.full(TRAIN, -1)}, "label -1"),
        ({"labels": np.zeros(TRAIN)}, "whole numbers"),
        ({"labels": np.zeros(TRAIN - 1, int)}, "offsets do not cut"),
        ({"labels": np.zeros((TRAIN, 1), int)}, "must be a row"),
        ({"labels": np.array([{}] * TRAIN)}, "allow_pickle=False"),
        ({"offsets": np.arange(TRAIN + 1)[::-1]}, "offsets do not cut"),
        ({"offsets": np.arange(TRAIN + 1) * 10**6}, "offsets do not cut"),
        ({"offsets": np.zeros(TRAIN + 1, int)}, "cut off, broken or none of JPEG"),
        ({"class_names": np.array(CLASS_NAMES[::-1])}, "classes are ('truck'"),
        ({"labels": np.zeros(0, int), "offsets": np.zeros(1, int)}, "no labels"),
    ],
)
def test_damaged_npz_files_are_refused_in_one_line(cifar, cifar_jpegs, change, phrase):
    arrays = npz_arrays(cifar_jpegs[0][:TRAIN], cifar_jpegs[2][:TRAIN]) | change
    np.savez(cifar / "train.npz", **{name: array for name, array in arrays.items() if array is not None})
    refused(Cifar10(root=cifar), ValueError, str(cifar / "train.npz"), phrase, KRIZ, "data.root=")


def test_a_broken_or_oversized_jpeg_is_named(cifar, cifar_jpegs):
    files, _, labels = cifar_jpegs
    large, png = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64)).save(large, "JPEG")
    Image.new("RGB", (32, 32)).save(png, "PNG")
    for bad, phrase in ((files[0][:-200], "cut off"), (large.getvalue(), "64x64"), (png.getvalue(), "none of JPEG")):
        write_npz(cifar, [*files[:TRAIN], *files[TRAIN:-1], bad], labels)
        refused(Cifar10(root=cifar), ValueError, str(cifar / "test.npz"), f"JPEG file {TEST - 1} in it", phrase, KRIZ)


@pytest.mark.parametrize("form", ["npz", "python", "binary"])
def test_no_damage_gets_past_as_a_raw_error(tmp_path, cifar_jpegs, form):
    files, pixels, labels = cifar_jpegs
    {
        "npz": lambda: write_npz(tmp_path, files, labels),
        "python": lambda: write_python(tmp_path, pixels, labels),
        "binary": lambda: write_binary(tmp_path, pixels, labels),
    }[form]()
    path = tmp_path / {"npz": "test.npz", "python": "test_batch", "binary": "test_batch.bin"}[form]
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    # cut anywhere: refused. A binary batch cut between two pictures can't be told from a small one.
    for end in [0, 1, 10, 1000, len(whole) - 1, *rng.integers(0, len(whole), 20)]:
        path.write_bytes(whole[:end])
        if form != "binary" or end % 3073 or end == 0:
            refused(Cifar10(root=tmp_path), ValueError, str(path))
    # bytes changed: refused or read (a pixel may be any byte), never anything else
    for start in [*range(0, 400, 9), *rng.integers(0, len(whole), 20)]:
        changed = bytearray(whole)
        changed[start] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            Cifar10(root=tmp_path).load()
        except ValueError as error:
            assert type(error) is ValueError  # noqa: PT017
            assert str(path) in str(error)  # noqa: PT017


def test_an_npz_that_is_another_file_is_refused(cifar):
    for data in (b"<html>", pickle.dumps({}), gzip.compress(b"x")):
        (cifar / "test.npz").write_bytes(data)
        refused(Cifar10(root=cifar), ValueError, str(cifar / "test.npz"), KRIZ)
    np.save(cifar / "test.npy", np.zeros(3))
    (cifar / "test.npy").rename(cifar / "test.npz")
    refused(Cifar10(root=cifar), ValueError, str(cifar / "test.npz"))
    with zipfile.ZipFile(cifar / "test.npz", "w") as archive:
        archive.writestr("jpeg.npy", b"not numpy")
    refused(Cifar10(root=cifar), ValueError, str(cifar / "test.npz"))


# --- nothing is unpickled --------------------------------------------------------------------------------------------


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(cifar_python, protocol):
    trace = cifar_python / "ran"
    payload = pickle.dumps({"labels": [0], "data": Hostile(trace)}, protocol=protocol)
    pickle.loads(payload)
    assert trace.exists()  # it would have run
    trace.unlink()
    (cifar_python / "data_batch_2").write_bytes(payload)
    refused(Cifar10(root=cifar_python), ValueError, str(cifar_python / "data_batch_2"), "no plain pickle", KRIZ)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("pickled", "phrase"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "asks for `os.system`"),
        (b"(S'true'\nios\nsystem\n.", "opcode INST"),
        (b"\x80\x02cnumpy\nndarray\nK\x01\x85R.", "calls `numpy.ndarray`"),
        (b"\x80\x02c_codecs\nencode\n(X\x02\x00\x00\x00hiX\x05\x00\x00\x00rot13tR.", "calls `_codecs.encode`"),
        (b"\x80\x02}q\x01(K\x01K\x02u.", "do not fit together"),
        (b"\x80\x02K\x01", "exhausted before seeing STOP"),
        (b"\x80\x02e.", "do not fit together"),
        (b"\x80\x02h\x07.", "do not fit together"),
        (pickle.dumps(np.zeros((2, 2), np.float32), 4), "other than uint8"),
        (pickle.dumps(np.zeros((2, 3), np.uint8, order="F"), 4), "C order"),
    ],
)
def test_a_pickle_of_anything_but_plain_data_is_refused(pickled, phrase):
    with pytest.raises(ValueError, match=re.escape(phrase)):
        read_plain(pickled)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_plain_data_comes_out_of_a_pickle_as_python_reads_it(protocol):
    shared = [1, -2, 300, 70_000, 2**40]
    plain = {"a": shared, "b": (None, True, False), "c": [shared, "text", ("x", 1, 2, 3, 4)], "d": [], "e": {"f": ()}}
    assert read_plain(pickle.dumps(plain, protocol=protocol)) == plain


@pytest.mark.parametrize(
    "batch",
    [
        {"labels": [0, 1]},
        {"labels": [0, 1], "data": np.zeros((2, 3071), np.uint8)},
        {"labels": [0, 1, 2], "data": np.zeros((2, 3072), np.uint8)},
        {"labels": [0, 10], "data": np.zeros((2, 3072), np.uint8)},
        {"labels": [0, -1], "data": np.zeros((2, 3072), np.uint8)},
        {"labels": [0, 2**70], "data": np.zeros((2, 3072), np.uint8)},
        {"labels": [0, "1"], "data": np.zeros((2, 3072), np.uint8)},
        {"labels": [], "data": np.zeros((0, 3072), np.uint8)},
        {"labels": None, "data": b"text"},
        [0, 1],
    ],
)
def test_a_pickle_of_another_shape_is_no_batch(cifar_python, batch):
    (cifar_python / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    refused(Cifar10(root=cifar_python), ValueError, str(cifar_python / "test_batch"), KRIZ)


def test_labels_out_of_range_in_a_binary_batch_are_refused(tmp_path, cifar_jpegs):
    write_binary(tmp_path, *cifar_jpegs[1:])
    path = tmp_path / "data_batch_4.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    refused(Cifar10(root=tmp_path), ValueError, str(path), "label 10 of picture 0 is not 0 to 9", KRIZ)
    path.write_bytes(b"")
    refused(Cifar10(root=tmp_path), ValueError, str(path), "no labels")


@pytest.mark.slow
def test_cifar10_is_the_one_its_readme_describes(data_root):
    cifar = Cifar10(root=data_root / "cifar10").load()
    assert per_class(cifar.train.labels) == [4500] * 10  # 5,000 a class, a tenth of them val
    assert per_class(cifar.val.labels) == [500] * 10
    assert per_class(cifar.test.labels) == [484, 503, 485, 516, 526, 491, 476, 508, 509, 502]
    # README: of all 50,000 train images, mean .4913 .4821 .4465 and std .2452 .2428 .2606
    mean, std = channel_statistics(np.concatenate([cifar.train.images, cifar.val.images]))
    np.testing.assert_allclose(mean, (0.4913, 0.4821, 0.4465), atol=6e-5)
    np.testing.assert_allclose(std, (0.2452, 0.2428, 0.2606), atol=6e-5)
    np.testing.assert_allclose(cifar.mean, mean, atol=2e-3)
    # README: no two images are pixel-identical, so splits that share none have 55,000 different ones
    assert len(rows_of(cifar.train) | rows_of(cifar.val) | rows_of(cifar.test)) == 55_000


def test_a_little_of_cifar10_looks_like_the_whole(data_root):
    cifar = Cifar10(root=data_root / "cifar10", limit=2000, val_fraction=0.01).load()
    assert cifar.train.images.shape == (2000, 32, 32, 3)
    assert per_class(cifar.val.labels) == [50] * 10
    np.testing.assert_allclose(cifar.mean, (0.4913, 0.4821, 0.4465), atol=0.01)
    np.testing.assert_allclose(cifar.std, (0.2452, 0.2428, 0.2606), atol=0.01)


# --- image folders ---------------------------------------------------------------------------------------------------

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path):
    """Ten train and four test pictures of each colour, of many sizes and kinds."""
    for part, count in (("train", 10), ("test", 4)):
        for name, colour in COLOURS.items():
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                kind = ("png", "bmp", "webp", "JPG")[i % 4]
                picture = Image.new("RGB", (20 + i, 30), colour)
                picture.save(tmp_path / part / name / f"{i}.{kind}")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "notes.txt").write_text("not a class")
    (tmp_path / "train" / "red" / "notes.txt").write_text("not a picture")
    return tmp_path


def test_an_image_folder_comes_back_as_it_was_laid_out(folder):
    source = ImageFolder(root=str(folder), image_size=16, val_fraction=0.2)
    assert isinstance(source, Source)
    assert source.classes == 3
    dataset = source.load()
    assert dataset.name == folder.name
    assert dataset.class_names == ("blue", "green", "red")
    assert [per_class(split.labels) for split in (dataset.train, dataset.val, dataset.test)] == [
        [8] * 3,
        [2] * 3,
        [4] * 3,
    ]
    assert (dataset.native_size, dataset.native_max, dataset.resample) == (None, 255, "bicubic")
    for split in (dataset.train, dataset.val, dataset.test):
        assert split.images.shape[1:] == (16, 16, 3)
        for image, label in zip(split.images, split.labels, strict=True):
            # lossy kinds (JPEG, WebP) bring a plain colour back within a few levels
            np.testing.assert_allclose(image, np.broadcast_to(list(COLOURS.values())[label], image.shape), atol=6)
    assert (np.diff(dataset.test.labels) < 0).any()  # shuffled, though listed class by class


def test_a_folder_of_pixels_survives_exactly(tmp_path):
    rng = np.random.default_rng(0)
    written = {}
    for part in ("train", "test"):
        for label, name in enumerate(("a", "b")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(3):
                image = rng.integers(0, 256, (12, 12, 3), np.uint8)
                Image.fromarray(image).save(tmp_path / part / name / f"{i}.png")
                written[image.tobytes()] = (part, label)
    dataset = ImageFolder(root=tmp_path, image_size=12).load()
    read = {}
    for part, split in (("train", dataset.train), ("train", dataset.val), ("test", dataset.test)):
        read |= {image.tobytes(): (part, int(label)) for image, label in zip(split.images, split.labels, strict=True)}
    assert read == written


def test_a_val_folder_is_val(folder):
    (folder / "val" / "green").mkdir(parents=True)
    Image.new("RGB", (9, 9), COLOURS["green"]).save(folder / "val" / "green" / "one.png")
    dataset = ImageFolder(root=folder, image_size=16, limit=20).load()
    assert per_class(dataset.val.labels) == [0, 1]
    assert len(dataset.train.labels) == 20
    assert min(per_class(dataset.train.labels)) > 0


def test_pictures_of_every_mode_become_grey_or_colour(folder):
    red = folder / "train" / "red"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 4), np.uint8), "RGBA")
    for mode in ("1", "L", "LA", "P", "RGBA"):
        noise.convert(mode).save(red / f"mode {mode}.png")
    noise.convert("P").save(red / "transparent.png", transparency=bytes(range(256)))
    noise.convert("CMYK").save(red / "cmyk.jpg")
    for channels in (1, 3):
        dataset = ImageFolder(root=folder, image_size=8, image_channels=channels).load()
        assert dataset.train.images.shape[1:] == (8, 8, channels)
        assert dataset.image_channels == channels == len(dataset.mean) == len(dataset.std)


def test_damaged_pictures_are_named(folder):
    path = folder / "test" / "blue" / "0.png"
    whole = path.read_bytes()
    deep = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(deep, "PNG")
    for data, phrase in (
        (b"", "cut off, broken or none of PNG"),
        (b"<html>", "cut off, broken or none of PNG"),
        (whole[: len(whole) // 2], "cut off"),
        (whole[:40] + b"\xff" + whole[41:], "broken"),
        (deep.getvalue(), "more than 8 bits a channel"),
    ):
        path.write_bytes(data)
        refused(ImageFolder(root=folder), ValueError, str(path), phrase, "or remove it")


def test_a_folder_laid_out_otherwise_is_told_how(folder):
    refused(ImageFolder(root=folder / "no"), FileNotFoundError, str(folder / "no" / "train"), "data.root=<folder>")
    with pytest.raises(FileNotFoundError, match="train/<class>"):
        _ = ImageFolder(root=folder / "no").classes
    (folder / "test" / "violet").mkdir()
    refused(ImageFolder(root=folder), ValueError, str(folder / "test" / "violet"), "class that train lacks")
    (folder / "train" / "violet").mkdir()
    refused(ImageFolder(root=folder), ValueError, str(folder / "train" / "violet"), "holds no picture")
    (folder / "test").rename(folder / "tests")
    (folder / "train" / "violet").rmdir()
    refused(ImageFolder(root=folder), FileNotFoundError, str(folder / "test"), "test/<class>")
    (folder / "test").mkdir()
    refused(ImageFolder(root=folder), ValueError, "no pictures are left for the test split")
    refused(ImageFolder(root=folder / "tests" / "red"), FileNotFoundError, "train/<class>")
    (folder / "one" / "train" / "only").mkdir(parents=True)
    refused(ImageFolder(root=folder / "one"), ValueError, "two classes or more")
