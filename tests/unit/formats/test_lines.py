"""Splitting bytes into lines: any chunking gives the same, nothing torn, bounded memory."""

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clawtop.formats.lines import LineSplitter, json_object
from clawtop.model.errors import Unusable


def split(chunks: list[bytes], limit: int = 1 << 20) -> tuple[list[bytes], LineSplitter]:
    splitter = LineSplitter(limit)
    return [line for chunk in chunks for line in splitter.feed(chunk)], splitter


def expected(data: bytes, limit: int) -> tuple[list[bytes], int]:
    """Lines and how many were too long: the definition, without chunks."""
    *whole, rest = data.split(b"\n")
    kept = [line[:-1] if line.endswith(b"\r") else line for line in whole if len(line) <= limit]
    too_long = sum(len(line) > limit for line in (*whole, rest))
    return [line for line in kept if line], too_long


texts = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc", b"\x00", b"\xff\xfe", b"longer text"])).map(
    b"".join
)


@settings(deadline=None)
@given(data=texts | st.binary(), cuts=st.lists(st.integers(0, 200)), limit=st.integers(0, 12))
def test_any_chunking_gives_the_same_lines(data: bytes, cuts: list[int], limit: int) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in pairwise(places)]
    lines, splitter = split(chunks, limit)
    assert (lines, splitter.too_long) == expected(data, limit)


def test_a_torn_line_waits_for_its_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert splitter.feed(b":2}") == []
    assert splitter.feed(b"\n") == [b'{"b":2}']


def test_a_carriage_return_cut_off_from_its_newline_is_stripped() -> None:
    assert split([b"a\r", b"\nb\r\r\n"])[0] == [b"a", b"b\r"]


def test_a_line_of_200_megabytes_holds_no_more_than_the_limit() -> None:
    splitter = LineSplitter(1 << 20)
    chunk = b"x" * (1 << 20)
    tracemalloc.start()
    try:
        for _ in range(200):
            assert splitter.feed(chunk) == []
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()
    assert splitter.feed(b"\nnext\n") == [b"next"]
    assert splitter.too_long == 1


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (rb'{"a":"cut \ud83d"}', "cut \ufffd"),
        (rb'{"a":"\uDE00 tail"}', "\ufffd tail"),
        (rb'{"a":"\ud83d\ud83d\ude00"}', "\ufffd\U0001f600"),
        (rb'{"a":"\\ud83d \ud83d"}', r"\ud83d " + "\ufffd"),
    ],
)
def test_half_an_emoji_is_one_strange_character(raw: bytes, found: str) -> None:
    assert json_object(raw) == {"a": found}


@pytest.mark.parametrize(
    "raw", [rb'{"a":"\ud8', rb'{"a":"\ud83', rb'{"a":"\ud83d"', b'{"a":"\xed\xa0\xbd"}', b'{"a":NaN}']
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Unusable, match="not JSON"):
        json_object(raw)


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_halves_of_emoji_never_hide_an_object(texts: dict[str, str]) -> None:
    found = json_object(json.dumps(texts).encode())
    whole = [text for text in texts.values() if not any("\ud800" <= character <= "\udfff" for character in text)]
    assert set(whole) <= set(found.values())
