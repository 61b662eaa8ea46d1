"""Holds on processes as they lie on disk: read as they were written, or damaged, never half."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.control.record import (
    DamagedHold,
    HoldRecord,
    LogBefore,
    ProcessBefore,
    Search,
    TreeBefore,
    from_json,
    to_json,
)
from clawtop.model.commands import Target

texts = st.text(max_size=20)
maybe = st.none() | texts
processes = st.builds(
    ProcessBefore,
    pid=st.integers(2, 2**31 - 1),
    birth=texts,
    parent=st.integers(0, 2**31 - 1),
    started=st.integers(0, 2**45),
    command=texts,
    stopped=st.none() | st.booleans(),
    terminal=maybe,
)
trees = st.builds(
    TreeBefore,
    st.builds(Search, maybe, st.lists(texts, max_size=2).map(tuple), maybe, maybe),
    st.lists(processes, max_size=3).map(tuple),
    st.lists(st.builds(LogBefore, texts, st.integers(0, 2**53), st.integers(0, 2**62)), max_size=2).map(tuple),
)


def record(tree: TreeBefore) -> HoldRecord:
    """A hold on a process."""
    return HoldRecord(Target("local", "claude:api"), since=1, by="me@here", pid=1, tree=tree)


@given(trees)
def test_a_tree_is_read_as_it_was_written(tree: TreeBefore) -> None:
    assert from_json(orjson.loads(orjson.dumps(to_json(record(tree))))) == record(tree)


@given(tree=trees, data=st.data())
def test_one_that_lacks_a_field_is_damaged(tree: TreeBefore, data: st.DataObject) -> None:
    fields: dict[str, Any] = orjson.loads(orjson.dumps(to_json(record(tree))))
    places = [fields, fields["tree"], fields["tree"]["search"], *fields["tree"]["processes"], *fields["tree"]["logs"]]
    place = data.draw(st.sampled_from(places))
    del place[data.draw(st.sampled_from(sorted(place)))]

    with pytest.raises(DamagedHold):
        from_json(fields)


@pytest.mark.parametrize("pid", [-1, 0, 1, 2**31])
def test_no_hold_is_on_what_is_no_process_of_anybody(pid: int) -> None:
    fields = to_json(record(TreeBefore(Search(), (ProcessBefore(pid, "b", 1, 0, "x"),))))

    with pytest.raises(DamagedHold, match=f"pid {pid}"):
        from_json(orjson.loads(orjson.dumps(fields)))


@pytest.mark.parametrize("folders", [None, "/srv", [1]])
def test_folders_that_are_none_are_damaged(folders: object) -> None:
    fields = orjson.loads(orjson.dumps(to_json(record(TreeBefore(Search())))))
    fields["tree"]["search"]["folders"] = folders

    with pytest.raises(DamagedHold):
        from_json(fields)


def test_a_clawtop_that_knows_no_processes_does_not_take_it_for_another_hold() -> None:
    assert to_json(record(TreeBefore(Search())))["schema"] != "clawtop/hold/1"
