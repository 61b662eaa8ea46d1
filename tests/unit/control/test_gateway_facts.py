"""How a cron job's schedule is put for people."""

import pytest

from clawtop.control.gateway_facts import read_jobs


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"kind": "every", "everyMs": 604_800_000}, "every 7d"),
        ({"kind": "every", "everyMs": 6000}, "every 6s"),
        ({"kind": "cron", "expr": "0 9 * * 1"}, "0 9 * * 1"),
        (None, "?"),
    ],
)
def test_a_schedule_is_said_in_the_largest_unit(schedule: object, said: str) -> None:
    (job,) = read_jobs({"jobs": [{"id": "j1", "schedule": schedule}]}, "main")
    assert job.schedule == said
