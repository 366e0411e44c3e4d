"""`mlp check FILE.npz` on files that are torn, locked, lying or no arrays: one line and 2, and no hang."""

import contextlib
import io
import os
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_torch.__main__ import main
from mlp_torch.archives import arrays_of
from mlp_torch.errors import UserError

r = np.random.default_rng(0)
X, W, Y = r.normal(size=(6, 4)), r.normal(size=(4, 2)), r.normal(size=(6, 2))
GOOD = {"x": X, "y": Y, "W": W, "dW": 2 * X.T @ (X @ W - Y) / 6}
FLAGS = ("--activations", "identity", "--loss", "squared_error")


def bytes_of(array, version=(1, 0)):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version)
    return out.getvalue()


def with_header(text):
    head = text.encode() + b" " * 20 + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


def zipped(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


MEMBERS = {f"{name}.npy": bytes_of(array) for name, array in GOOD.items()}
GOOD_FILE = zipped(MEMBERS)


def one(content, name="W.npy", **options):
    return zipped({**MEMBERS, name: content}, **options)


def changed(data, old, new):
    assert old in data
    return data.replace(old, new)


def flagged(data):
    """The same archive, each member said to be encrypted."""
    data = bytearray(data)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + at] |= 1
            place = data.find(mark, place + 1)
    return bytes(data)


def method(data, number):
    """The same archive, each member said to be compressed by another method."""
    data = bytearray(data)
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = data.find(mark)
        while place >= 0:
            data[place + at : place + at + 2] = struct.pack("<H", number)
            place = data.find(mark, place + 1)
    return bytes(data)


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }"
FILES = {
    "empty": (b"", "no .npz archive"),
    "text": (b"x, y, W\n1, 2, 3\n", "no .npz archive"),
    "an .npy": (bytes_of(X), "no .npz archive"),
    "an .npz of nothing": (zipped({}), "holds no x"),
    "half": (GOOD_FILE[: len(GOOD_FILE) // 2], "no .npz archive"),
    "a flipped byte of an array": (changed(GOOD_FILE, W.tobytes(), X[:2].tobytes()), "W is damaged"),
    "encrypted": (flagged(GOOD_FILE), "is encrypted"),
    "method 99": (method(GOOD_FILE, 99), "compressed by method 99"),
    "said to be deflated": (method(GOOD_FILE, 8), "is damaged"),
    "said to be lzma": (method(GOOD_FILE, 14), "is damaged"),
    "a member of text": (one(b"notes", "notes.txt"), "notes.txt is no .npy member"),
    "an array under another name": (one(bytes_of(X), "W.png"), "W.png is no .npy member"),
    "text under an array's name": (one(b"no array"), "W is damaged"),
    "nothing under an array's name": (one(b""), "W is damaged"),
    "objects": (one(bytes_of(np.array([None, {}], object))), "Python objects"),
    "records": (one(bytes_of(np.zeros(3, "i4,f8"))), "has the dtype"),
    "dates": (one(bytes_of(np.zeros(3, "M8[D]"))), "has the dtype"),
    "bytes without kind": (one(bytes_of(np.zeros(3, "V8"))), "has the dtype"),
    "a shape that is too large": (one(with_header(HEADER % "10**9,")), "W is damaged"),
    "a shape of a terabyte": (one(with_header(HEADER % "1000000000000,")), "says that its shape is"),
    "a shape below 0": (one(with_header(HEADER % "-4,-2") + bytes(64)), "says that its shape is"),
    "a header that is code": (one(with_header("__import__('os').abort()")), "W is damaged"),
    "a header too long": (one(with_header("{" + " " * 20000)), "W is damaged"),
    "a header nested too deep": (one(with_header("(" * 5000)), "W is damaged"),
    "more than the shape says": (one(bytes_of(W) + b"more"), "says that its shape is"),
    "less than the shape says": (one(bytes_of(W)[:-8]), "says that its shape is"),
    "version 9": (one(b"\x93NUMPY\x09\x00" + bytes(100)), "of version"),
    "a folder": (one(b"", "W.npy/"), "is no .npy member"),
    "a loss of many": (one(bytes_of(X), "loss.npy"), "it must be a number"),
    "a loss of text": (one(bytes_of(np.array("low")), "loss.npy"), "it must be a number"),
    "a parameter of text": (one(bytes_of(np.array(["a", "b"]))), "W"),
    "a complex parameter": (one(bytes_of(W + 1j)), "W"),
    "a parameter of nothing": (one(bytes_of(np.zeros((0, 2)))), "W"),
    "five dimensions of x": (one(bytes_of(np.zeros((2, 1, 1, 1, 2))), "x.npy"), ""),
    "a name of many lines": (one(bytes_of(X), "a\nb\x1b[31m.npy"), ""),
    "infinite": (one(bytes_of(W * np.inf), "x.npy"), "x: holds"),
}


def said(capsys, path, *more):
    code = main(["check", str(path), *FLAGS, *more])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_judged_is_one_line_and_2(tmp_path, capsys, name):
    content, words = FILES[name]
    (tmp_path / "a.npz").write_bytes(content)
    code, out, err = said(capsys, tmp_path / "a.npz")
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert words in err
    assert err.isprintable() or err[:-1].isprintable()


@pytest.mark.parametrize("compressed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                                        zipfile.ZIP_LZMA])  # fmt: skip
def test_a_whole_file_is_read_whichever_way_it_was_compressed(tmp_path, capsys, compressed):
    (tmp_path / "a.npz").write_bytes(zipped(MEMBERS, compressed))
    assert said(capsys, tmp_path / "a.npz")[0] == 0


def test_arrays_come_out_as_numpy_reads_them(tmp_path):
    given = {"a": X, "b": np.asfortranarray(X), "c": np.array(3), "d": np.zeros((0, 3)), "e": X.astype(">f4"),
             "f": np.array(["one", "two"]), "g": X[::2, ::-1] + 1j, "h": np.arange(5) > 2}  # fmt: skip
    np.savez(tmp_path / "a.npz", **given)
    found = arrays_of(str(tmp_path / "a.npz"), 2**20)
    with np.load(tmp_path / "a.npz") as theirs:
        assert list(found) == theirs.files
        for name, array in found.items():
            assert array.dtype == theirs[name].dtype
            assert np.array_equal(array, theirs[name])


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, capsys):
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    code, _, err = said(capsys, path, "--max-bytes", "200000000")
    assert code == 2
    assert "more than the 200,000,000 of --max-bytes" in err
    (path).write_bytes(GOOD_FILE)
    assert said(capsys, path, "--max-bytes", "200")[0] == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO there")
@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_what_is_no_plain_file_is_not_opened(tmp_path, capsys, kind):
    path = tmp_path / "a.npz"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    code, _, err = said(capsys, path)
    assert code == 2
    assert ("is a folder" if kind == "folder" else "is no plain file") in err


@st.composite
def damages(draw):
    """The good file, stored or deflated, with bytes flipped, left out, doubled, or moved."""
    data = bytearray(zipped(MEMBERS, draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        far = min(len(data), place + draw(st.integers(1, 40)))
        way = draw(st.sampled_from(["flip", "cut", "double", "zero", "ones", "random"]))
        if way == "flip":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif way == "cut":
            del data[place:far]
        elif way == "double":
            data[place:place] = data[place:far]
        elif way == "random":
            data[place:far] = draw(st.binary(min_size=far - place, max_size=far - place))
        else:
            data[place:far] = (b"\x00" if way == "zero" else b"\xff") * (far - place)
    return bytes(data)


@settings(max_examples=150)
@given(damages())
def test_a_damaged_file_is_told_in_words_or_read(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        assert sum(array.nbytes for array in arrays_of(str(path), 10**6).values()) <= 10**6


SCALES = st.sampled_from([0.0, 1e-320, 1e-300, 1.0, -1.0, 1e300, np.inf, np.nan])
DTYPES = st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c16", "U3", "S2", ">f8", "g"])
SHAPES = st.sampled_from(
    [(), (0,), (1,), (4,), (6,), (6, 4), (4, 6), (4, 2), (2, 4), (6, 2), (1, 1, 1), (0, 4)]
)


@settings(max_examples=60)
@given(st.dictionaries(
    st.sampled_from([*GOOD, "b", "db", "loss", "output", "mask1", "W_after", "sample_weight", "y\n"]),
    st.tuples(SHAPES, DTYPES, SCALES), max_size=4,
))  # fmt: skip
def test_arrays_of_any_shape_and_dtype_are_judged_or_refused_in_one_line(tmp_path_factory, strange):
    arrays = dict(GOOD)
    for name, (shape, dtype, scale) in strange.items():
        with np.errstate(all="ignore"):
            array = np.resize(r.normal(size=24), shape) * scale
            arrays[name] = array.astype(dtype) if dtype != "U3" else np.full(shape, "ab")
    path = tmp_path_factory.getbasetemp() / "strange.npz"
    path.write_bytes(zipped({f"{name}.npy": bytes_of(array) for name, array in arrays.items()}))
    assert main(["check", str(path), *FLAGS]) in (0, 1, 2)
