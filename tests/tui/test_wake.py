"""How the engine's thread and the screen's meet."""

import threading

from tests.tui.fleet_feed import FleetFeed
from tests.tui.stage import shown, stage


async def test_a_burst_of_snapshots_is_one_picture() -> None:
    feed = FleetFeed(20)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        pictures: list[int] = []
        take = app.fleet.take

        def counted(snapshot: object) -> None:
            pictures.append(feed.seq)
            take(feed.snapshot)

        app.fleet.take = counted  # type: ignore[method-assign]
        for _ in range(500):
            feed.tick()
        assert pictures == []
        await pilot.pause()
        assert pictures == [feed.seq]
        assert f"${feed.snapshot.total.usd_per_hour:.2f}" in shown(app)


async def test_another_thread_is_never_made_to_wait() -> None:
    """The screen's loop stands still the whole time, as it does on a stalled terminal."""
    feed = FleetFeed(20)
    app = stage(feed)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        engine = threading.Thread(target=feed.ticks, args=(200,))
        engine.start()
        engine.join(30)
        assert not engine.is_alive()
        await pilot.pause()
        assert f"${feed.snapshot.total.usd_per_hour:.2f}" in shown(app)


async def test_a_snapshot_after_the_end_is_no_error() -> None:
    feed = FleetFeed(5)
    app = stage(feed)
    async with app.run_test(size=(100, 30)):
        callback = feed.listener
    assert callback is not None
    callback()
