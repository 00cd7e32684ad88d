"""MinHash sketches of problems: eight numbers that two problems share as often as they share phrases."""

import re
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import xxhash

SKETCH = 8
"""Numbers in a sketch."""

_WORD = re.compile(r"\w+")
# Odd multipliers: multiply-shift hashing (Dietzfelbinger et al. 1997) makes eight hashes of one.
_ODD = np.array(
    [xxhash.xxh3_64_intdigest(f"sketch {number}".encode()) | 1 for number in range(SKETCH)], dtype=np.uint64
)


def sketch(prompt: str) -> bytes:
    """The least of each of eight hashes over the prompt's pairs of neighbouring words, as uint32 (Broder 1997).

    The chance that two sketches agree in a number is the Jaccard similarity of the two sets of pairs. Single words
    would make problems alike that share no more than "how many".
    """
    words = _WORD.findall(prompt.lower())
    pairs = {f"{one} {other}" for one, other in pairwise(words)} or set(words) or {""}
    digests = (xxhash.xxh3_64_intdigest(pair.encode()) for pair in pairs)
    hashes = np.fromiter(digests, dtype=np.uint64, count=len(pairs))
    least: npt.NDArray[np.uint32] = ((hashes[:, None] * _ODD) >> np.uint64(32)).min(axis=0).astype("<u4")
    return least.tobytes()
