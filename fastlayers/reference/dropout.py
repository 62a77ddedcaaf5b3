"""Dropout from a counter-based generator: the mask is a function of (seed, counter, element), without state.

The generator is Philox2x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
block of two 32-bit words is encrypted under a 32-bit key. For element i of the mask

    stream    = mix(seed ^ mix(counter))                    64 bits
    key       = stream mod 2³²
    low, high = i mod 2³², (i // 2³²) ^ (stream // 2³²)     the block

where mix is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). The first word that comes
out, cut to its top 24 bits, is the element's uniform number u in [0, 1).
"""

from __future__ import annotations

import numpy as np

from fastlayers.reference.arrays import Array, plain

_WORD = 2**32 - 1
_MASK = 2**64 - 1


@np.errstate(all="ignore")
def dropout(x: Array, rate: float, seed: int, counter: int) -> Array:
    """y = x / (1 - rate) where u >= rate, else 0      x (any shape) -> y; 0 <= rate < 1

    u is that of the element's position in C order, so one (seed, counter) gives one mask in every dtype and
    layout. The factor 1 / (1 - rate) is computed in double and rounded to the dtype of x, and x is
    multiplied by it: results are the same to the bit in every path. Backward is this function on dy, with
    the same seed and counter.
    """
    x = plain(x)
    scale = x.dtype.type(1 / (1 - rate))
    keep = uniform(x.size, seed, counter).reshape(x.shape) >= rate
    return plain(np.where(keep, x * scale, x.dtype.type(0)))


def uniform(count: int, seed: int, counter: int) -> Array:
    """The numbers u of elements 0 … count - 1, as float64; all are multiples of 2⁻²⁴."""
    stream = mix(seed ^ mix(counter))
    element = np.arange(count, dtype=np.uint64)
    low, high = element & np.uint64(_WORD), (element >> np.uint64(32)) ^ np.uint64(stream >> 32)
    word, _ = philox2x32(low, high, stream & _WORD)
    return np.asarray((word >> np.uint64(8)) / 2**24)


def philox2x32(low: Array, high: Array, key: int) -> tuple[Array, Array]:
    """Ten rounds of Philox2x32 on blocks of two 32-bit words, held in uint64 -> two such words"""
    for _ in range(10):
        product = low * np.uint64(0xD256D193)
        low, high = (product >> np.uint64(32)) ^ np.uint64(key) ^ high, product & np.uint64(_WORD)
        key = (key + 0x9E3779B9) & _WORD
    return low, high


def mix(z: int) -> int:
    """SplitMix64's output function after one step of its counter      64 bits -> 64 bits"""
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
