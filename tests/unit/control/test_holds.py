"""The hold files: complete or not there, never lost, never taken for something else."""

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.control.holds import Busy, HoldStore, NotRemoved, OpenHolds
from clawtop.control.record import (
    ConfigBefore,
    CronBefore,
    DamagedHold,
    HoldRecord,
    SessionBefore,
    Stood,
    from_json,
    to_json,
)
from clawtop.model.commands import Step, Target

CODER = Target("local", "coder")
CHECKOUT = Path(__file__).parents[3]

texts = st.text(max_size=20)
maybe = st.none() | texts
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
stood = st.builds(Stood, st.booleans(), json_values)
records = st.builds(
    HoldRecord,
    target=st.builds(Target, texts, texts),
    since=st.integers(0, 2**45),
    by=texts,
    pid=st.integers(1, 2**22),
    reason=maybe,
    gateway=maybe,
    hook=maybe,
    config=st.none()
    | st.builds(
        ConfigBefore,
        form=st.sampled_from(["entries", "list"]),
        roster=st.booleans(),
        entry=st.booleans(),
        model=stood,
        tools=stood,
        denied=st.booleans(),
        known=st.booleans(),
    ),
    cron=st.lists(st.builds(CronBefore, texts, texts, maybe), max_size=2).map(tuple),
    sessions=st.lists(st.builds(SessionBefore, texts, maybe, texts, maybe, maybe, st.booleans()), max_size=2).map(
        tuple
    ),
    steps=st.lists(st.builds(Step, texts, st.booleans(), texts, st.integers(0, 9)), max_size=2).map(tuple),
)


def record(reason: str | None = None) -> HoldRecord:
    """A hold on coder."""
    return HoldRecord(CODER, since=1, by="me@here", pid=1, reason=reason)


@given(records)
def test_a_record_is_read_as_it_was_written(written: HoldRecord) -> None:
    assert from_json(orjson.loads(orjson.dumps(to_json(written)))) == written


@given(json_values)
def test_garbage_is_damaged_and_nothing_else(garbage: object) -> None:
    with pytest.raises(DamagedHold):
        from_json(garbage)


@given(written=records, data=st.data())
def test_a_record_that_lacks_a_field_is_damaged(written: HoldRecord, data: st.DataObject) -> None:
    fields: dict[str, Any] = to_json(written)
    del fields[data.draw(st.sampled_from(sorted(fields)))]

    with pytest.raises(DamagedHold):
        from_json(fields)


def test_a_hold_is_private_and_can_be_read_again(tmp_path: Path) -> None:
    store = HoldStore(tmp_path / "holds")

    store.write(record("too dear"))

    assert store.read(CODER) == record("too dear")
    assert store.path(CODER).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "holds").stat().st_mode & 0o777 == 0o700
    store.remove(CODER)
    assert store.read(CODER) is None
    assert store.all() == []


def test_a_write_that_fails_leaves_the_old_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HoldStore(tmp_path / "holds")
    store.write(record("old"))

    def no_room(_: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("clawtop.control.holds.os.fsync", no_room)
    with pytest.raises(OSError, match="no space"):
        store.write(record("new"))

    assert store.read(CODER) == record("old")
    assert [path.name for path in (tmp_path / "holds").iterdir()] == [store.path(CODER).name]


def test_a_file_that_cannot_be_removed_stands_for_no_hold_until_there_is_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, record = HoldStore(tmp_path), HoldRecord(Target("local", "coder"), 1, "me@here", 1)
    store.write(record)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as stubborn:
        stubborn.setattr(Path, "unlink", refuse)
        with pytest.raises(NotRemoved, match=r"could not be removed .Read-only file system.: remove it"):
            store.lift(record.target, damaged=False)
    left_over = store.read(record.target), store.stands(record.target)
    store.write(record)

    assert left_over == (record, False)
    assert store.stands(record.target)
    store.lift(record.target, damaged=False)
    assert store.read(record.target) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema":"clawtop/hold/9"}', b"\xff\x00"])
def test_a_damaged_hold_is_told_and_kept(tmp_path: Path, content: bytes) -> None:
    store = HoldStore(tmp_path / "holds")
    store.write(record())
    store.path(CODER).write_bytes(content)

    with pytest.raises(DamagedHold, match="cannot be read"):
        store.read(CODER)
    ((target, damage),) = store.all()
    assert target == CODER
    assert isinstance(damage, DamagedHold)
    aside = store.set_aside(CODER)
    assert aside.read_bytes() == content
    assert store.read(CODER) is None


def test_damaged_holds_set_aside_do_not_replace_each_other(tmp_path: Path) -> None:
    store = HoldStore(tmp_path / "holds")
    for content in (b"one", b"two"):
        store.write(record())
        store.path(CODER).write_bytes(content)
        store.set_aside(CODER)

    assert {path.read_bytes() for path in (tmp_path / "holds").iterdir()} == {b"one", b"two"}


@given(st.lists(st.builds(Target, st.text(max_size=90), st.text(max_size=90)), unique=True, max_size=5))
def test_each_target_has_a_file_of_its_own(tmp_path_factory: pytest.TempPathFactory, targets: list[Target]) -> None:
    store = HoldStore(tmp_path_factory.mktemp("state") / "holds")
    paths = {store.path(target) for target in targets}

    assert len(paths) == len(targets)
    assert all(path.parent == store.path(CODER).parent and len(path.name) < 250 for path in paths)


def test_one_at_a_time_acts_on_a_target(tmp_path: Path) -> None:
    first, second = HoldStore(tmp_path), HoldStore(tmp_path)

    with first.lock(CODER):
        with pytest.raises(Busy, match=r"pid \d+"), second.lock(CODER):
            pass
        with second.lock(Target("local", "main")):
            pass
    with second.lock(CODER):
        pass


def test_the_lock_of_a_clawtop_that_was_killed_is_free(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from clawtop.control.holds import HoldStore; from clawtop.model.commands import Target\n"
        "with HoldStore(Path(sys.argv[1])).lock(Target('local', 'coder')): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=CHECKOUT, check=False)

    assert killed.returncode == -9
    with HoldStore(tmp_path).lock(CODER):
        pass


async def test_of_two_changes_the_newer_one_is_on_disk(tmp_path: Path) -> None:
    store = HoldStore(tmp_path)
    holds = OpenHolds(store, [record()])

    await holds.write(record("first"))
    await holds.write(record("second"))

    assert store.read(CODER) == record("second") == holds.records["coder"]


async def test_what_has_no_file_gets_none(tmp_path: Path) -> None:
    holds = OpenHolds(HoldStore(tmp_path), [record()], unwritten={"coder"})

    await holds.write(record("changed"))

    assert holds.records["coder"].reason == "changed"
    assert HoldStore(tmp_path).all() == []


def test_what_other_clawtops_do_to_holds_is_seen_and_what_is_done_here_is_not(tmp_path: Path) -> None:
    here, other = HoldStore(tmp_path), HoldStore(tmp_path)
    main = HoldRecord(Target("local", "main"), since=1, by="me@here", pid=1)

    here.write(record())
    assert here.changes() == frozenset()
    other.write(main)
    assert here.changes() == {main.target}
    other.write(record("again"))
    assert here.changes() == {CODER}
    here.write(record("mine"))
    assert here.changes() == frozenset()
    other.remove(CODER)
    assert here.changes() == {CODER}
    here.lift(main.target, damaged=False)
    assert here.changes() == frozenset()
