from random import Random

from clawtop.fleet.series import KEPT, Series
from clawtop.fleet.tally import BINS, TOKENS, call, counted, histogram
from clawtop.model.events import Tokens

from .made import NOW

NOW_S = NOW // 1000


def filled(seconds: list[int], now: int = NOW_S) -> Series:
    series = Series()
    for second in seconds:
        series.add(second * 1000, call(Tokens(second % 1000), 1), BINS[second % 90], now)
    return series


def content(series: Series, seconds: int) -> dict[int, tuple[int, int]]:
    """Tally and latencies by index, whether packed or not."""
    series.open_pages()
    found: dict[int, tuple[int, int]] = {}
    for index, tally, bins in series.since(0, seconds):
        before = found.get(index, (0, 0))
        found[index] = before[0] + tally, before[1] + histogram(bins)
    return found


def ages(span: int, count: int = 300) -> list[int]:
    dice = Random(span)  # noqa: S311  # test data
    return [NOW_S - dice.randrange(span) for _ in range(count)]


def test_what_is_old_stands_in_coarser_buckets() -> None:
    seconds, minutes, hours, days = filled([NOW_S - age for age in (5, 5, 3600, 2 * 86400, 60 * 86400)]).levels
    assert [list(level) for level in (seconds, minutes)] == [[NOW_S - 5], [(NOW_S - 3600) // 60]]
    assert [list(level) for level in (hours, days)] == [[(NOW_S - 2 * 86400) // 3600], [(NOW_S - 60 * 86400) // 86400]]


def test_rolling_loses_nothing() -> None:
    for resolution, span in ((60, KEPT[1]), (3600, KEPT[2]), (86400, 90 * 86400)):
        events = ages(span - 4000)
        rolled = filled(events, now=0)
        for step in range(4, -1, -1):
            rolled.roll(NOW_S - step * 900)
        expected = filled(events, now=0)
        if resolution == 86400:  # latencies are not kept by the day
            assert {i: t for i, (t, _) in content(rolled, 86400).items()} == {
                i: t for i, (t, _) in content(expected, 86400).items()
            }
        else:
            assert content(rolled, resolution) == content(expected, resolution)
        assert (rolled.total, rolled.latencies) == (expected.total, expected.latencies)


def test_minutes_of_past_hours_are_packed_and_opened_for_what_comes_late() -> None:
    series = filled([NOW_S - age for age in range(0, 86400, 60)])
    series.roll(NOW_S)
    assert len(series.pages) > 15
    assert len(series.levels[1]) < 300
    packed = dict(series.pages)
    late = NOW_S - 10 * 3600
    series.add(late * 1000, call(Tokens(7), 1), b"", NOW_S)
    assert packed.keys() - series.pages.keys() == {late // 3600}
    before = counted(packed[late // 3600].tally, TOKENS)
    series.roll(NOW_S)
    assert counted(series.pages[late // 3600].tally, TOKENS) == before + 7


def pieces(series: Series, width: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for second, tokens in series.tokens_since(0, 60, width):
        found[second // 720] = found.get(second // 720, 0) + tokens
    return found


def test_a_page_knows_its_tokens_piece_by_piece() -> None:
    series = filled(ages(20 * 3600, 900))
    exact = pieces(series, 60)
    series.roll(NOW_S)
    assert pieces(series, 720) == exact
    assert series.pages, "asking for coarse slices unpacks nothing"
    assert pieces(series, 60) == exact


def test_absorbing_adds_everything_packed_or_not() -> None:
    ours, theirs = ages(20 * 3600, 900), ages(21 * 3600, 900)
    for theirs_is_rolled in (True, False):
        for ours_is_rolled in (True, False):
            mine, other = filled(ours), filled(theirs)
            if ours_is_rolled:
                mine.roll(NOW_S)
            if theirs_is_rolled:
                other.roll(NOW_S)
            mine.absorb(other)
            mine.roll(NOW_S)
            assert content(mine, 60) == content(filled(ours + theirs), 60)
            assert (mine.total, mine.latencies) == (filled(ours + theirs).total, filled(ours + theirs).latencies)


def test_what_was_absorbed_grows_old_as_well() -> None:
    mine, other = Series(), filled(ages(20 * 3600, 900))
    other.roll(NOW_S)
    mine.absorb(other)
    mine.roll(NOW_S + 3 * 86400)
    assert not mine.pages
    assert not mine.levels[1]
    assert sum(counted(tally, TOKENS) for _, tally, _ in mine.since(0, 3600)) == counted(mine.total, TOKENS)


def test_rolling_is_only_looked_at_when_something_is_due() -> None:
    series = filled([NOW_S - 10])
    series.roll(NOW_S)
    assert NOW_S + 16 * 60 < series.due < NOW_S + 18 * 60


def test_what_lies_below_zero_comes_out_of_a_page_as_it_went_in() -> None:
    series = Series()
    hour = (NOW_S - 5 * 3600) // 3600 * 3600
    for minute in range(10):
        series.add((hour + 60 * minute) * 1000, call(Tokens(10), 1), b"", NOW_S)
        series.add((hour + 60 * minute) * 1000, -3 * call(Tokens(10), 1), b"", NOW_S)
    series.roll(NOW_S)
    assert series.pages
    assert set(content(series, 60).values()) == {(-2 * call(Tokens(10), 1), 0)}
    assert series.total == -20 * call(Tokens(10), 1)
