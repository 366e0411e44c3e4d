"""Records are those that TensorBoard's own writer writes, byte for byte."""

import io

from hypothesis import example, given
from hypothesis import strategies as st
from tensorboard.summary.writer.record_writer import RecordWriter

from mlp_torch.records import BLOCK, crc32c, record


def theirs(content: bytes) -> bytes:
    box = io.BytesIO()
    RecordWriter(box).write(content)
    return box.getvalue()


@given(st.binary(max_size=4 * BLOCK))
@example(b"")
@example(bytes(BLOCK))
@example(bytes(BLOCK - 1))
@example(b"\xff" * (3 * BLOCK + 1))
def test_a_record_is_tensorboards_own(content):
    assert record(content) == theirs(content)


def test_a_checksum_is_the_standards_example():
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(min_size=1, max_size=3 * BLOCK), st.data())
def test_a_bit_flipped_is_seen(content, data):
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[at // 8] ^= 1 << at % 8
    assert crc32c(bytes(flipped)) != crc32c(content)
