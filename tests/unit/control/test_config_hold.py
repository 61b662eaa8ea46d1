"""The hold in the config: what it writes, and that its undo brings back what stood there, whatever stood there."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawtop.control.config_hold import (
    HELD_MODEL,
    REVIEW_TOOL,
    Patch,
    Undo,
    UnreadableConfig,
    hold_patch,
    read_roster,
    stood_before,
    undo_patch,
)
from tests.unit.control.pretend import MODEL, Pretend, merge, shortened

Json = dict[str, Any]
HELD = {"primary": HELD_MODEL, "fallbacks": []}

models = st.one_of(
    st.just("mock/normal"),
    st.fixed_dictionaries(
        {"primary": st.sampled_from(["a/b", "${MODEL}"])},
        optional={"fallbacks": st.lists(st.sampled_from(["x/y", "z/z"]), max_size=2), "timeoutMs": st.just(5)},
    ),
)
tools = st.fixed_dictionaries(
    {}, optional={"deny": st.lists(st.sampled_from(["exec", REVIEW_TOOL]), unique=True), "profile": st.just("coding")}
)
entries = st.fixed_dictionaries({}, optional={"workspace": st.just("/ws"), "model": models, "tools": tools})
rosters = st.one_of(st.none(), st.dictionaries(st.sampled_from(["main", "coder", "writer"]), entries, max_size=3))


def config_of(form: str, agents: dict[str, Json] | None) -> Json:
    """A config with these agents, None for one that says nothing of them."""
    if agents is None:
        return {"agents": {"defaults": {"model": copy.deepcopy(MODEL)}}}
    listed = agents if form == "entries" else [{"id": name, **entry} for name, entry in agents.items()]
    return {"agents": {"defaults": {}, form: copy.deepcopy(listed)}}


def answer(form: str, config: Json) -> Json:
    """What config.get would say of it."""
    pretend = Pretend(form)
    pretend.config = config
    return pretend.answer()


def apply(config: Json, patch: Patch | None) -> Json:
    """The config after the patch, which must shorten no array that it does not name."""
    if patch is None:
        return config
    merged: Json = merge(config, patch.merge, "", set(patch.replace_paths))
    assert [path for path in shortened(config, merged, "") if path not in patch.replace_paths] == []
    return merged


def primary(form: str, config: Json, agent: str) -> object:
    """The model that the config gives an agent first."""
    entry = read_roster(answer(form, config)).entry(agent)
    assert entry is not None
    return entry["model"]["primary"]


@pytest.mark.parametrize("form", ["entries", "list"])
@given(agents=rosters, held=st.sets(st.sampled_from(["main", "coder"]), min_size=1))
def test_an_undone_hold_leaves_the_agents_as_they_were(
    form: str, agents: dict[str, Json] | None, held: set[str]
) -> None:
    config = config_of(form, agents)
    before = copy.deepcopy(config)
    roster = read_roster(answer(form, config))
    stood = {agent: stood_before(roster, agent) for agent in held}

    config = apply(config, hold_patch(roster, sorted(held)))

    assert {primary(form, config, agent) for agent in held} == {HELD_MODEL}
    undo = undo_patch(read_roster(answer(form, config)), stood, force=False, keep=False)
    assert undo.conflicts == {}
    assert apply(config, undo.patch) == before


@pytest.mark.parametrize("form", ["entries", "list"])
def test_other_agents_are_not_named(form: str) -> None:
    patch = hold_patch(read_roster(answer(form, Pretend(form).config)), ["coder"])

    assert patch is not None
    listed = patch.merge["agents"][form]
    assert [entry["id"] for entry in listed] == ["coder"] if form == "list" else list(listed) == ["coder"]


def test_reviews_are_denied_their_tool_where_the_gateway_runs_them() -> None:
    new = hold_patch(read_roster(Pretend("entries").answer()), ["coder"])
    old = hold_patch(read_roster(Pretend("list").answer()), ["coder"])

    assert new is not None
    assert old is not None
    assert new.merge["agents"]["entries"]["coder"]["tools"] == {"deny": [REVIEW_TOOL]}
    assert "tools" not in old.merge["agents"]["list"][0]


def test_a_held_agent_needs_no_patch() -> None:
    pretend = Pretend()
    pretend.config["agents"]["entries"]["coder"] |= {"model": HELD, "tools": {"deny": [REVIEW_TOOL]}}

    assert hold_patch(read_roster(pretend.answer()), ["coder"]) is None


def test_a_model_that_somebody_set_meanwhile_is_a_conflict_and_stays() -> None:
    pretend = Pretend()
    stood = {"coder": stood_before(read_roster(pretend.answer()), "coder")}
    pretend.config = apply(pretend.config, hold_patch(read_roster(pretend.answer()), ["coder"]))
    pretend.config["agents"]["entries"]["coder"]["model"] = "mock/cheap"

    undo = undo_patch(read_roster(pretend.answer()), stood, force=False, keep=False)

    (conflict,) = undo.conflicts["coder"]
    assert (conflict.before, conflict.now) == ("mock/normal", "mock/cheap")
    assert apply(pretend.config, undo.patch)["agents"]["entries"]["coder"] == {
        "workspace": "/ws/coder",
        "model": "mock/cheap",
    }


@pytest.mark.parametrize(("force", "left"), [(True, MODEL), (False, "mock/cheap")])
def test_a_conflict_is_settled_by_force_or_by_keeping(force: bool, left: object) -> None:
    pretend = Pretend()
    stood = {"coder": stood_before(read_roster(pretend.answer()), "coder")}
    pretend.config = apply(pretend.config, hold_patch(read_roster(pretend.answer()), ["coder"]))
    pretend.config["agents"]["entries"]["coder"]["model"] = "mock/cheap"

    undo = undo_patch(read_roster(pretend.answer()), stood, force=force, keep=not force)

    assert undo.conflicts == {}
    assert apply(pretend.config, undo.patch)["agents"]["entries"]["coder"]["model"] == left


def test_what_somebody_set_beside_the_held_model_is_kept() -> None:
    pretend = Pretend()
    stood = {"coder": stood_before(read_roster(pretend.answer()), "coder")}
    pretend.config = apply(pretend.config, hold_patch(read_roster(pretend.answer()), ["coder"]))
    pretend.config["agents"]["entries"]["coder"]["model"]["timeoutMs"] = 9
    pretend.config["agents"]["entries"]["coder"]["name"] = "Coder"

    undo = undo_patch(read_roster(pretend.answer()), stood, force=False, keep=False)

    entry = apply(pretend.config, undo.patch)["agents"]["entries"]["coder"]
    assert entry == {"workspace": "/ws/coder", "name": "Coder", "model": {**MODEL, "timeoutMs": 9}}


def test_the_holds_own_value_is_never_taken_for_what_stood_before() -> None:
    pretend = Pretend()
    pretend.config["agents"]["entries"]["coder"]["model"] = dict(HELD)
    stood = {"coder": stood_before(read_roster(pretend.answer()), "coder")}

    asked = undo_patch(read_roster(pretend.answer()), stood, force=False, keep=False)
    forced = undo_patch(read_roster(pretend.answer()), stood, force=True, keep=False)

    assert not stood["coder"].known
    assert asked.patch is None
    assert asked.conflicts["coder"][0].now == HELD_MODEL
    assert "model" not in apply(pretend.config, forced.patch)["agents"]["entries"]["coder"]


def test_an_agent_that_was_taken_out_is_not_made_again() -> None:
    pretend = Pretend()
    stood = {"coder": stood_before(read_roster(pretend.answer()), "coder")}
    del pretend.config["agents"]["entries"]["coder"]

    asked = undo_patch(read_roster(pretend.answer()), stood, force=False, keep=False)
    forced = undo_patch(read_roster(pretend.answer()), stood, force=True, keep=False)

    assert asked.conflicts["coder"][0].now == "the agent has no entry any more"
    assert forced == Undo(None, {})


def test_agents_of_an_included_file_are_read_by_their_values() -> None:
    payload = {"parsed": {"agents": {"$include": "./agents.json5"}}, "resolved": Pretend().config, "hash": "h"}

    roster = read_roster(payload)

    assert roster.included
    assert roster.entry("coder") == Pretend().entry("coder")


def test_an_invalid_config_is_not_touched() -> None:
    with pytest.raises(UnreadableConfig, match="not valid"):
        read_roster({**Pretend().answer(), "valid": False})


@pytest.mark.parametrize("agents", [None, 7, [], {"entries": 7}, {"list": 7}, {"entries": {"coder": 7}}, {"list": [7]}])
def test_garbage_is_no_entry(agents: object) -> None:
    roster = read_roster({"parsed": {"agents": agents}, "resolved": {"agents": agents}, "hash": 7})

    assert roster.entry("coder") is None
    assert roster.hash is None
