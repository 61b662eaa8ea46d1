"""The simulated fleet: deterministic, plausible, and with one runaway."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from statistics import median

import pytest

from clawtop.model.errors import UsageError
from clawtop.model.events import (
    Aborted,
    Attempt,
    Blind,
    Call,
    Compaction,
    Declared,
    Event,
    Outcome,
    PriceList,
    Resolution,
    Resolved,
    SessionState,
    State,
    ToolCall,
    ToolError,
    Unmetered,
)
from clawtop.model.snapshot import Health
from clawtop.sources import demo
from clawtop.sources.demo import DemoSource
from clawtop.sources.demo_fleet import DemoFleet
from tests.unit.sources.collecting import CollectingOutlet

NOW = 1_795_262_400_000
HOUR = 3_600_000
RUNAWAY = "release-bot"


@pytest.fixture(scope="module")
def fleet() -> tuple[list[Event], list[Event]]:
    """A day of history and the ten minutes after it."""
    simulated = DemoFleet()
    return list(simulated.history(NOW)), simulated.step(NOW + 600_000)


def calls(events: Iterable[Event], begin: int, end: int) -> list[Call]:
    return [event for event in events if isinstance(event, Call) and begin < event.at <= end]


def spent(events: Iterable[Event], begin: int, end: int) -> dict[str, float]:
    """Dollars per hour of each agent between two moments."""
    sums: dict[str, float] = defaultdict(float)
    for call in calls(events, begin, end):
        sums[call.key.agent] += (call.cost or 0) / 1e6 * HOUR / (end - begin)
    return sums


def test_the_same_seed_and_start_give_the_same_events_in_any_steps() -> None:
    one, other, third = DemoFleet(3), DemoFleet(3), DemoFleet(4)
    history = list(one.history(NOW))
    assert history == list(other.history(NOW))
    assert history != list(third.history(NOW))
    steps = [event for seconds in range(1, 301) for event in one.step(NOW + seconds * 1000)]
    assert steps == other.step(NOW + 300_000)
    assert steps


def test_everything_that_can_be_counted_occurs(fleet: tuple[list[Event], list[Event]]) -> None:
    history, _ = fleet
    kinds = {type(event) for event in history}
    assert kinds == {
        *(Call, Attempt, Resolved, ToolCall, ToolError, Compaction, Aborted, Unmetered),
        *(SessionState, PriceList, Declared, Outcome),
    }
    assert {event.how for event in history if isinstance(event, Resolved)} == set(Resolution)
    assert {event.reset for event in history if isinstance(event, Compaction)} == {True, False}
    assert {event.status for event in history if isinstance(event, Outcome)} == {"accepted", "rejected", "abandoned"}
    assert any(call.cost is None and call.tokens.total for call in calls(history, 0, NOW)), "no unpriced call"
    assert any("429" in (call.error or "") for call in calls(history, 0, NOW))


def test_every_error_is_followed_by_what_became_of_it(fleet: tuple[list[Event], list[Event]]) -> None:
    events = [*fleet[0], *fleet[1]]
    errors = [event for event in events if isinstance(event, Call) and event.error]
    resolved = {event.id: event for event in events if isinstance(event, Resolved)}
    waiting = [error for error in errors if error.id not in resolved]
    assert all(error.at > NOW + 590_000 for error in waiting)
    assert set(resolved) <= {error.id for error in errors}
    assert all((event.to is not None) is (event.how is Resolution.FALLBACK) for event in resolved.values())


def test_identities_are_unique_within_an_agent(fleet: tuple[list[Event], list[Event]]) -> None:
    ids = [
        (event.key.agent, event.id)
        for event in [*fleet[0], *fleet[1]]
        if isinstance(event, Call | Attempt | ToolCall | ToolError | Compaction | Declared | Outcome)
    ]
    assert len(ids) == len(set(ids))


def test_the_fleet_is_twelve_agents_in_four_projects_for_five_users(fleet: tuple[list[Event], list[Event]]) -> None:
    keys = [call.key for call in calls(fleet[0], 0, NOW)]
    assert len({key.agent for key in keys}) == 12
    assert len({key.project for key in keys}) == 4
    assert len({key.user for key in keys}) == 5
    assert any(key.parent for key in keys)
    states = [event for event in fleet[0] if isinstance(event, SessionState)]
    assert len(states) == len({event.key.agent for event in states}) == 12


def test_history_is_a_day_in_order(fleet: tuple[list[Event], list[Event]]) -> None:
    moments = [call.at for call in calls(fleet[0], 0, NOW)]
    assert moments == sorted(moments)
    assert NOW - 24 * HOUR < moments[0] < NOW - 23 * HOUR
    assert NOW - 600_000 < moments[-1] <= NOW


def test_calls_look_like_calls(fleet: tuple[list[Event], list[Event]]) -> None:
    answered = [call for call in calls([*fleet[0], *fleet[1]], 0, NOW + 600_000) if call.error is None]
    for call in answered:
        assert call.window is not None
        assert 0 < call.tokens.context < call.window
        assert call.latency is not None
        assert 200 < call.latency < 60_000
    cached = sum(call.tokens.cache_read for call in answered)
    assert 0.4 < cached / sum(call.tokens.context for call in answered) < 0.95


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_the_fleet_costs_some_dollars_an_hour_until_one_agent_runs_away(seed: int) -> None:
    simulated = DemoFleet(seed)
    history = list(simulated.history(NOW))
    before = spent(history, NOW - 6 * HOUR, NOW)
    assert 8 < sum(before.values()) < 20
    assert before[RUNAWAY] < 3
    live = simulated.step(NOW + 600_000)
    assert spent(live, NOW, NOW + 60_000)[RUNAWAY] < 20
    after = spent(live, NOW, NOW + 300_000)
    others = [after[agent] for agent in before if agent != RUNAWAY]
    assert after[RUNAWAY] > 60
    assert after[RUNAWAY] > 5 * median(others)
    assert after[RUNAWAY] > max(others)


def test_the_runaway_loops_over_one_tool_with_a_growing_context(fleet: tuple[list[Event], list[Event]]) -> None:
    loop = [event for event in fleet[1] if not isinstance(event, PriceList | Blind) and event.key.agent == RUNAWAY]
    late = [event for event in loop if not isinstance(event, Declared) and event.at > NOW + 90_000]
    assert {event.tool for event in late if isinstance(event, ToolCall)} == {"bash"}
    assert len({event.key.run for event in late}) == 1
    contexts = [event.tokens.context for event in late if isinstance(event, Call) and not event.error]
    grown = sum(before < after for before, after in pairwise(contexts))
    assert grown > 0.9 * len(contexts)
    assert any(isinstance(event, Compaction) for event in late)
    assert all(event.state is State.RUNNING for event in late if isinstance(event, SessionState))


def test_speed_squeezes_simulated_time_into_the_clock() -> None:
    slow, fast = DemoFleet(7), DemoFleet(7, speed=20)
    assert list(slow.history(NOW)) == list(fast.history(NOW))
    ordinary, squeezed = slow.step(NOW + 200_000), fast.step(NOW + 10_000)
    assert [type(event) for event in ordinary] == [type(event) for event in squeezed]
    moments = [call.at for call in calls(squeezed, 0, 2 * NOW)]
    assert NOW < moments[0] < moments[-1] <= NOW + 10_000


def test_a_large_fleet_has_one_runaway_and_clones_with_names_of_their_own() -> None:
    simulated = DemoFleet(7, agents=120)
    agents = {event.key.agent for event in simulated.history(NOW) if isinstance(event, SessionState)}
    assert len(agents) == 120
    rates = spent(simulated.step(NOW + 300_000), NOW, NOW + 300_000)
    assert [agent for agent, rate in rates.items() if rate > 60] == [RUNAWAY]
    assert "release-bot-2" in agents


# ---- the source


class AdvancingOutlet(CollectingOutlet):
    """Its clock goes on by a second with each look at it, and stops the source after a minute."""

    def now(self) -> int:
        self.at += 1000
        if self.at > NOW + 60_000:
            raise TimeoutError
        return self.at


async def test_history_comes_in_batches_and_ends_without_follow() -> None:
    outlet = CollectingOutlet(NOW)
    await DemoSource().run(outlet, follow=False)
    assert outlet.events == list(DemoFleet(7).history(NOW))
    assert max(map(len, outlet.batches)) <= 2000
    first, last = outlet.statuses
    assert (first.health, last.health, last.entries) == (Health.READING, Health.OK, len(outlet.events))
    assert last.demo
    assert last.detail == "simulated: 12 made-up agents, seed 7"


async def test_live_it_goes_on_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_TICK_SECONDS", 0)
    outlet = AdvancingOutlet(NOW - 1000)
    with pytest.raises(TimeoutError):
        await DemoSource("demo:?speed=20&seed=3").run(outlet, follow=True)
    simulated = DemoFleet(3, speed=20)
    assert outlet.events == [*simulated.history(NOW), *simulated.step(NOW + 60_000)]
    assert outlet.statuses[-1].entries == len(outlet.events)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("demo:?speed=fast", "speed needs a number"),
        ("demo:?speed=0", "speed is above 0"),
        ("demo:?speed=nan", "speed is above 0"),
        ("demo:?agents=0", "agents is 1 to 5000"),
        ("demo:?agents=9000", "agents is 1 to 5000"),
        ("demo:?agents=", "agents needs a number"),
        ("demo:?sede=1", "'sede' is none of seed, speed, agents"),
    ],
)
def test_a_uri_that_makes_no_sense_says_why(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DemoSource(uri)


def test_a_uri_is_kept_as_it_was_written() -> None:
    assert DemoSource("demo:?seed=9&agents=500").uri == "demo:?seed=9&agents=500"
