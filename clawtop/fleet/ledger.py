"""Which ids were counted already, in about 8 bytes an id."""

from array import array
from bisect import bisect_left
from hashlib import blake2b

_SHARDS = 1024
_SHIFT = 54


def fingerprint(*parts: str) -> int:
    """A 64-bit hash of the parts, the same in every process."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


class Ledger:
    """A set of fingerprints that forgets the ones longest not seen once there are more than `limit`.

    Sorted arrays, one a shard of the hash's range: inserting moves a few kilobytes at most, and there is no
    moment at which everything is copied. Two generations: when the young one has half the limit, the old
    one is dropped and the young one takes its place.
    """

    def __init__(self, limit: int = 8_000_000) -> None:
        self._half = max(1, limit // 2)
        self._young = _shards()
        self._old: list[array[int]] | None = None
        self._count = 0

    def add(self, mark: int) -> bool:
        """Remember a fingerprint; False where it was known."""
        shard = self._young[mark >> _SHIFT]
        place = bisect_left(shard, mark)
        if place < len(shard) and shard[place] == mark:
            return False
        shard.insert(place, mark)
        known = self._old is not None and _holds(self._old, mark)
        self._count += 1
        if self._count >= self._half:
            self._old, self._young, self._count = self._young, _shards(), 0
        return not known

    def __contains__(self, mark: int) -> bool:
        return _holds(self._young, mark) or (self._old is not None and _holds(self._old, mark))

    def __len__(self) -> int:
        return self._count + sum(map(len, self._old or ()))


def _shards() -> "list[array[int]]":
    return [array("Q") for _ in range(_SHARDS)]


def _holds(shards: "list[array[int]]", mark: int) -> bool:
    shard = shards[mark >> _SHIFT]
    place = bisect_left(shard, mark)
    return place < len(shard) and shard[place] == mark
