"""The hash against its published vectors, those that HAProxy showed, and those of its C library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from dsbalance.xxh32 import xxh32

TEXT = bytes(range(256))


@pytest.mark.parametrize(
    ("text", "seed", "value"),
    [(b"", 0, 0x02CC5D05), (b"g-a", 0, 0x32F35409), (bytes(16), 0, 0x8E022B3A)],
)
def test_the_hash_is_the_published_one(text: bytes, seed: int, value: int) -> None:
    assert xxh32(text, seed) == value


# Length and seed: of the first bytes of TEXT, by the C library behind xxhash 4.1.0 for Python.
@pytest.mark.parametrize(
    ("length", "seed", "value"),
    [
        (1, 0, 0xCF65B03E),
        (2, 0, 0xC671E7B8),
        (3, 1, 0xB5A3BB4A),
        (4, 0, 0x80691E66),
        (5, 7, 0x6D34620A),
        (7, 0, 0xA74336DC),
        (8, 0, 0xA3AD90B9),
        (13, 0xFFFFFFFF, 0x1972B7DB),
        (15, 0, 0x57C01ECE),
        (16, 0, 0xB72837F4),
        (17, 0, 0x7C77ADC2),
        (19, 3, 0x8723F9EE),
        (20, 0, 0x828B819C),
        (31, 5022, 0x1DE58E60),
        (32, 0, 0x830741C1),
        (33, 0xFFFFFFFF, 0x1684B66D),
        (64, 0, 0x31120435),
        (100, 0x9E3779B1, 0xFA996F24),
        (255, 0, 0xB4D58730),
        (256, 1, 0x3FCD56AA),
    ],
)
def test_any_length_and_seed_hash_as_in_the_library(length: int, seed: int, value: int) -> None:
    assert xxh32(TEXT[:length], seed) == value


@given(st.binary(max_size=80), st.integers(0, 2**32 - 1))
def test_the_hash_is_the_models(text: bytes, seed: int) -> None:
    assert xxh32(text, seed) == models.xxh32(text, seed)
