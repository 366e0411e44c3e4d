"""What the two processes say to each other: JSON, and plain arrays behind it. Nothing is unpickled.

A frame is the length of what follows, the length of the JSON, the JSON, and the arrays' bytes.
"""

import dataclasses
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from manual.numbers import Array
from mlp_torch.check.describe.layers import Dropout, Layer, Penalty
from mlp_torch.check.lines.line import GuiltyLine
from mlp_torch.check.report import ArrayRow, CheckReport, Fault

LENGTH = struct.Struct(">Q")
MOST = 2**31  # bytes of a frame: one that says more is not read
KINDS = "biufcUS"  # of dtypes: numbers and text
RECORDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (ArrayRow, CheckReport, Dropout, Fault, GuiltyLine, Layer, Penalty)
}


class FrameError(ValueError):
    """What came is no frame, or holds what no frame holds."""


def pack(value: Any) -> bytes:
    """A frame of the value. Raises FrameError for what is neither numbers, text, arrays nor one of ours."""
    arrays: list[bytes] = []
    head = json.dumps(_encoded(value, arrays)).encode()
    return b"".join([LENGTH.pack(LENGTH.size + len(head) + sum(map(len, arrays))),
                     LENGTH.pack(len(head)), head, *arrays])  # fmt: skip


def receive(read: Callable[[int], bytes]) -> Any:
    """The value of the next frame; `read` gives up to so many bytes, b"" at the end. Raises FrameError."""
    (length,) = LENGTH.unpack(_whole(read, LENGTH.size))
    if not LENGTH.size <= length <= MOST:
        raise FrameError(f"a frame of {length:,} bytes")
    frame = _whole(read, length)
    (head,) = LENGTH.unpack(frame[: LENGTH.size])
    start = LENGTH.size + head
    if start > length:
        raise FrameError("a frame shorter than its head")
    try:
        return _decoded(json.loads(frame[LENGTH.size : start]), memoryview(frame)[start:])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as error:
        raise FrameError(f"a frame that cannot be read: {error}") from None


def _whole(read: Callable[[int], bytes], length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = read(min(length - len(parts), 2**20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _encoded(value: Any, arrays: list[bytes]) -> Any:
    if value is None or (isinstance(value, bool | str | int | float) and not isinstance(value, np.generic)):
        return value
    if hasattr(value, "detach"):  # a tensor
        try:
            value = value.detach().cpu().numpy()
        except (TypeError, AttributeError) as error:  # bfloat16, sparse, a file
            raise FrameError(f"a tensor that NumPy has not: {error}") from None
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind not in KINDS or array.dtype.itemsize == 0:
            raise FrameError(f"an array of dtype {array.dtype}")
        place = sum(map(len, arrays))
        arrays.append(np.ascontiguousarray(array).tobytes())
        return {"array": array.dtype.str, "shape": list(array.shape), "at": place,
                "number": isinstance(value, np.generic)}  # fmt: skip
    if isinstance(value, Mapping):
        return {"dict": [[_encoded(k, arrays), _encoded(v, arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encoded(v, arrays) for v in value]}
    if RECORDS.get(type(value).__name__) is type(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"record": type(value).__name__, "fields": _encoded(fields, arrays)}
    raise FrameError(f"a {type(value).__name__}")


def _decoded(value: Any, rest: memoryview) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise FrameError("a bare list")
        return value
    if "array" in value:
        return _array(value, rest)
    if "dict" in value:
        return {_decoded(k, rest): _decoded(v, rest) for k, v in value["dict"]}
    if "record" in value:
        return RECORDS[value["record"]](**_decoded(value["fields"], rest))
    kind = list if "list" in value else tuple
    return kind(_decoded(v, rest) for v in value[kind.__name__])


def _array(value: Mapping[str, Any], rest: memoryview) -> Array:
    dtype, shape = np.dtype(str(value["array"])), tuple(int(n) for n in value["shape"])
    if dtype.kind not in KINDS or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise FrameError(f"an array of dtype {dtype}")
    count = 1
    for n in shape:
        count *= n
    start = int(value["at"])
    part = rest[start : start + count * dtype.itemsize]
    if start < 0 or len(part) != count * dtype.itemsize:
        raise FrameError("an array that is not all there")
    array: Array = np.frombuffer(part, dtype).reshape(shape).copy()
    return array[()] if value["number"] else array
