"""An .npz file's arrays, read within a limit: what is torn, encrypted or no array is told in one line."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from manual.numbers import Array
from mlp_torch.errors import UserError

KINDS = "biufcUS"  # of dtypes: numbers and text
METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflated",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "lzma",
}
LONGEST = 10_000  # bytes of an array's header


class _UnreadableError(Exception):
    """Why a member is no array."""


def arrays_of(
    path: str, most: int, *, remedy: str = "of --max-bytes", kinds: str = KINDS
) -> dict[str, Array]:
    """The arrays by name, at most `most` bytes in all, of these kinds of dtype.

    Raises UserError; `remedy` says how to go on where they are more.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(m.file_size for m in members)
            if size > most:
                raise UserError(
                    f"{path}: unpacks to {size:,} bytes, more than the {most:,} {remedy}; not read"
                )
            return {_name(m): _member(archive, m, path, kinds) for m in members}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:  # zipfile answers a changed byte with errors of many kinds
        raise UserError(f"{path}: cannot be read (it is no .npz archive, or it is damaged)") from None


def _name(member: zipfile.ZipInfo) -> str:
    return Path(member.filename).as_posix().removesuffix(".npy")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str, kinds: str) -> Array:
    shown = f"{path}: {_name(member)}"
    if member.flag_bits & 1:
        raise UserError(f"{shown} is encrypted; save it without a password")
    if member.compress_type not in METHODS:
        known = ", ".join(METHODS.values())
        raise UserError(f"{shown} is compressed by method {member.compress_type}; known are {known}")
    if not member.filename.endswith(".npy"):
        raise UserError(f"{shown} is no .npy member; np.savez(file, W1=…, dW1=…) writes them")
    try:
        with archive.open(member) as file:
            return _array(file, member.file_size, kinds)
    except _UnreadableError as error:
        raise UserError(f"{shown} {error}") from None
    except MemoryError:
        raise UserError(f"{shown} is larger than the memory") from None
    except Exception:  # zipfile, zlib, lzma and numpy answer a changed byte with errors of many kinds
        raise UserError(f"{shown} is damaged") from None


def _array(file: IO[bytes], size: int, kinds: str) -> Array:
    version = npy.read_magic(file)
    read: Any = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise _UnreadableError(f"is of version {version} of the .npy format; 1.0 and 2.0 can be read")
    shape, by_columns, dtype = read(file, max_header_size=LONGEST)
    if dtype.hasobject:
        raise _UnreadableError("holds Python objects, which are never unpickled; save arrays of numbers")
    if dtype.kind not in kinds or dtype.itemsize == 0:
        raise _UnreadableError(f"has the dtype {dtype}; save arrays of numbers")
    left = size - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
        raise _UnreadableError(f"says that its shape is {shape} of {dtype}, and {left:,} bytes are there")
    found: Array = np.empty(math.prod(shape), dtype)
    rest = found.view(np.uint8).data
    while rest and (n := file.readinto(rest)):  # type: ignore[attr-defined]  # ZipExtFile has it
        rest = rest[n:]
    if rest or file.read(1):  # to the end, where the checksum is looked at
        raise _UnreadableError("is cut short")
    return found.reshape(shape, order="F" if by_columns else "C")
