"""The records of an event file: length, checksum of the length, content, checksum of the content.

The checksums are CRC-32C, as TensorFlow masks them. TensorBoard's own writer goes byte by byte, which takes
longer than all else about a histogram; here the bytes of all blocks are looked up at once:

    crc(b₁ … bₙ) = ⊕ᵢ T[n − i][bᵢ]        T[k][b]: what byte b makes of the checksum, k bytes later
"""

import struct

import numpy as np

from manual.numbers import Array

POLYNOMIAL = 0x82F63B78  # Castagnoli's, the lowest bit first
BLOCK = 128  # bytes


def _tables() -> Array:
    """T (BLOCK, 256)."""
    first: Array = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = (first >> 1) ^ np.where(first & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    tables = [first]
    for _ in range(BLOCK - 1):
        tables.append(first[tables[-1] & 255] ^ (tables[-1] >> 8))
    return np.stack(tables)


TABLES = _tables()
ROWS = np.arange(BLOCK)[::-1] * 256  # where the table of each byte of a block begins, in all of them
NEXT: list[int] = TABLES[0].tolist()
CARRIED: list[list[int]] = TABLES[:-5:-1].tolist()  # of a checksum's four bytes, a block later


def crc32c(content: bytes) -> int:
    """The checksum."""
    crc, whole = 0xFFFFFFFF, len(content) // BLOCK
    if whole:
        x = np.frombuffer(content, np.uint8, whole * BLOCK).reshape(whole, BLOCK)
        for block in np.bitwise_xor.reduce(TABLES.ravel()[ROWS + x], axis=1).tolist():
            a, b, c, d = crc.to_bytes(4, "little")
            crc = block ^ CARRIED[0][a] ^ CARRIED[1][b] ^ CARRIED[2][c] ^ CARRIED[3][d]
    for byte in content[whole * BLOCK :]:
        crc = NEXT[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """As it is written: turned by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(content: bytes) -> bytes:
    """One record, ready to be added to the file."""
    length = struct.pack("<Q", len(content))
    first, last = (struct.pack("<I", masked(crc32c(part))) for part in (length, content))
    return length + first + content + last
