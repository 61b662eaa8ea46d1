"""Moments and texts out of logs."""

import pytest

from clawtop.formats.quantities import moment, text


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-11-22T11:05:33.629Z", 1795345533629),
        ("2026-11-22T12:05:33.629+01:00", 1795345533629),
        ("2026-11-22T11:05:33.629", 1795345533629),
        (1795345533629, 1795345533629),
        (0, None),
        (-5, None),
        (1e300, None),
        (float("nan"), None),
        ("soon", None),
        ("9999-12-31T23:59:59-23:59", None),
        (True, None),
        (None, None),
    ],
)
def test_moments_are_unix_milliseconds(value: object, at: int | None) -> None:
    assert moment(value) == at


def test_texts_are_cut_and_never_empty() -> None:
    assert text("x" * 500) == "x" * 300
    assert text("") is None
    assert text(7) is None
