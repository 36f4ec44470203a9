"""XXH32: a fast public hash of 32 bits, with which HAProxy 3 places servers by their address.

Source: the xxHash specification 0.1.1 (https://github.com/Cyan4973/xxHash/blob/dev/doc).
"""

from __future__ import annotations

import struct

_U32 = 0xFFFF_FFFF
_PRIMES = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)


def xxh32(text: bytes, seed: int = 0) -> int:
    """Return the hash of ``text``, from 0 to 2^32 - 1; so is ``seed``."""
    first, second, third, fourth, fifth = _PRIMES
    stripes, rest = divmod(len(text), 16)
    if stripes:
        lanes = [seed + first + second, seed + second, seed, seed - first]
        for words in struct.iter_unpack("<4I", text[: 16 * stripes]):
            lanes = [
                _turned(lane + word * second, 13) * first & _U32
                for lane, word in zip(lanes, words, strict=True)
            ]
        value = sum(_turned(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
    else:
        value = seed + fifth
    value += len(text)
    tail = text[len(text) - rest :]
    count, odd = divmod(rest, 4)
    for (word,) in struct.iter_unpack("<I", tail[: 4 * count]):
        value = _turned(value + word * third, 17) * fourth
    for byte in tail[len(tail) - odd :]:
        value = _turned(value + byte * fifth, 11) * first
    value &= _U32
    value = (value ^ value >> 15) * second & _U32
    value = (value ^ value >> 13) * third & _U32
    return value ^ value >> 16


def _turned(value: int, by: int) -> int:
    """Return the low 32 bits of a number, rotated to the left."""
    value &= _U32
    return (value << by | value >> 32 - by) & _U32
