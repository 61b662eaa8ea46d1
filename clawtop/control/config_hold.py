"""The hold in a gateway's config: the agent's model becomes one that does not exist, and back.

Pure: it reads what `config.get` answers and builds what `config.patch` takes (a JSON merge patch, RFC 7396; lists of
objects with ids are merged by id). Where agents are kept as entries the agent also loses the tool that the gateway's
background reviews need: 2026.9 runs such a review half a minute after a turn of ten or more steps, an aborted one, too,
on the model of that turn and not on the agent's, so that the model alone would let it through.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clawtop.control.record import ConfigBefore, Stood
from clawtop.model.commands import Conflict
from clawtop.model.errors import ClawtopError

HELD_MODEL = "paused/by-clawtop"
REVIEW_TOOL = "skill_workshop"

Json = dict[str, Any]


class UnreadableConfig(ClawtopError):
    """The gateway's config has no form that clawtop knows how to change and restore."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The `agents` part of a gateway's config as its file has it, and the hash that a patch must name.

    `form` is entries (a table by id, 2026.7 and later) or list. `included` says that it comes out of another file,
    so that references to the environment are known only by their values.
    """

    hash: str | None
    form: str
    agents: Json
    included: bool

    def entry(self, agent: str) -> Json | None:
        """The agent's own entry, None where it has none and lives by the defaults."""
        if self.form == "entries":
            found = _table(self.agents.get("entries")).get(agent)
            return found if isinstance(found, dict) else None
        return next((entry for entry in _entries(self.agents) if entry.get("id") == agent), None)


@dataclass(frozen=True, slots=True)
class Patch:
    """What `config.patch` is to be told: a merge patch, and the arrays that it may shorten."""

    merge: Json
    replace_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Undo:
    """How the config of several agents comes back: the patch, None where nothing is to change; what is in its way."""

    patch: Patch | None
    conflicts: Mapping[str, tuple[Conflict, ...]]


def read_roster(payload: Mapping[str, Any]) -> Roster:
    """The agents of what `config.get` answered. Raises UnreadableConfig where the file is not valid."""
    authored, resolved = (_table(_table(payload.get(name)).get("agents")) for name in ("parsed", "resolved"))
    if payload.get("valid") is False:
        raise UnreadableConfig("the gateway's config file is not valid, so the gateway takes no change to it")
    included = _includes(authored)
    effective = resolved or authored
    hash_ = payload.get("hash")
    return Roster(
        hash=hash_ if isinstance(hash_, str) else None,
        form="entries" if "entries" in effective else "list",
        agents=copy.deepcopy(resolved if included else authored),
        included=included,
    )


def stood_before(roster: Roster, agent: str) -> ConfigBefore:
    """What the config says of an agent now, so that a hold can be undone."""
    entry = roster.entry(agent)
    fields = entry or {}
    model = Stood("model" in fields, copy.deepcopy(fields.get("model")))
    return ConfigBefore(
        form=roster.form,
        roster=roster.form in roster.agents,
        entry=entry is not None,
        model=model,
        tools=Stood("tools" in fields, copy.deepcopy(fields.get("tools"))),
        denied=REVIEW_TOOL in _denied(fields),
        known=not is_held(model.value),
    )


def is_held(model: object) -> bool:
    """Whether this value of an agent's model is the hold's."""
    primary = model.get("primary") if isinstance(model, dict) else model
    return primary == HELD_MODEL


def hold_patch(roster: Roster, agents: Sequence[str]) -> Patch | None:
    """What holds these agents; None where all are held already."""
    changes = {agent: change for agent in agents if (change := _hold(roster.entry(agent) or {}, roster.form))}
    return _patch(roster.form, changes) if changes else None


def undo_patch(roster: Roster, before: Mapping[str, ConfigBefore], *, force: bool, keep: bool) -> Undo:
    """What brings these agents back to what stood before.

    A value that is not the hold's any more was set by somebody: it is a conflict and stays, unless `force` puts the
    old one back; with `keep` it stays without being one.
    """
    wanted = copy.deepcopy(roster.agents)
    conflicts: dict[str, tuple[Conflict, ...]] = {}
    for agent, stood in before.items():
        entry = roster.entry(agent)
        found = _conflicts(agent, entry, stood, force=force, keep=keep)
        if found:
            conflicts[agent] = found
        if entry is None:
            # somebody took the agent out; a hold knows its model, which makes no agent
            continue
        held = is_held(entry.get("model"))
        if not stood.known and not (held and force):
            continue
        model_stays = bool(found) or (keep and not held)
        _place(wanted, roster.form, agent, _restored(entry, stood, model_stays=model_stays), stood)
    return Undo(_difference(roster, wanted, before), conflicts)


def _hold(entry: Json, form: str) -> Json:
    change: Json = {}
    model = entry.get("model")
    if not is_held(model) or (isinstance(model, dict) and model.get("fallbacks")):
        change["model"] = {"primary": HELD_MODEL, "fallbacks": []}
    denied = _denied(entry)
    if form == "entries" and REVIEW_TOOL not in denied:
        change["tools"] = {"deny": [*denied, REVIEW_TOOL]}
    return change


def _conflicts(agent: str, entry: Json | None, stood: ConfigBefore, *, force: bool, keep: bool) -> tuple[Conflict, ...]:
    if force:
        return ()
    what = f"the model of {agent} in the gateway's config"
    if entry is None:
        gone = Conflict(what, _told(stood.model), "the agent has no entry any more")
        return (gone,) if stood.entry and not keep else ()
    now = Stood("model" in entry, entry.get("model"))
    held = is_held(now.value)
    if not stood.known:
        return (
            (Conflict(what, "nobody knows what (--force takes it out, then the default applies)", _told(now)),)
            if held
            else ()
        )
    return () if held or keep or now == stood.model else (Conflict(what, _told(stood.model), _told(now)),)


def _restored(entry: Json, stood: ConfigBefore, *, model_stays: bool) -> Json:
    wanted = copy.deepcopy(entry)
    if not model_stays:
        model = _model_before(entry.get("model"), stood)
        wanted.pop("model", None)
        if model.there:
            wanted["model"] = model.value
    if not stood.denied and REVIEW_TOOL in _denied(wanted):
        tools = wanted["tools"]
        tools["deny"] = [name for name in tools["deny"] if name != REVIEW_TOOL]
        if not tools["deny"] and "deny" not in _table(stood.tools.value):
            del tools["deny"]
        if not tools and not stood.tools.there:
            del wanted["tools"]
    return wanted


def _model_before(now: object, stood: ConfigBefore) -> Stood:
    """What the model was, with whatever else somebody has set beside it meanwhile."""
    before = stood.model if stood.known else Stood(there=False)
    own = dict(before.value) if isinstance(before.value, dict) else {"primary": before.value}
    held = {**own, "primary": HELD_MODEL, "fallbacks": []}
    added = {name: value for name, value in _table(now).items() if name not in held}
    if not before.there or not added:
        return before
    return Stood(there=True, value={**own, **copy.deepcopy(added)})


def _place(agents: Json, form: str, agent: str, entry: Json, stood: ConfigBefore) -> None:
    """Put an agent's entry back into the agents, or take it out where the hold had brought it in."""
    unwanted = not stood.entry and not (entry.keys() - {"id"})
    if form == "entries":
        agents["entries"][agent] = entry
        if unwanted:
            del agents["entries"][agent]
    else:
        others = [known for known in agents["list"] if known.get("id") != agent]
        at = next(at for at, known in enumerate(agents["list"]) if known.get("id") == agent)
        agents["list"] = others if unwanted else [*others[:at], entry, *others[at:]]
    if not agents[form] and not stood.roster:
        del agents[form]


def _difference(roster: Roster, wanted: Json, before: Mapping[str, ConfigBefore]) -> Patch | None:
    if wanted == roster.agents:
        return None
    now, then = roster.agents.get(roster.form), wanted.get(roster.form)
    if then is None:
        return Patch({"agents": {roster.form: None}}, (*_replace_paths(roster.form, before), f"agents.{roster.form}"))
    if roster.form == "entries":
        return _patch("entries", _changes(_table(now), then))
    olds = {entry["id"]: entry for entry in _entries(roster.agents)}
    news = {entry["id"]: entry for entry in then}
    if olds.keys() <= news.keys():
        changes = {
            agent: merge_patch(olds.get(agent, {}), new) for agent, new in news.items() if new != olds.get(agent)
        }
        return _patch("list", changes)
    # an entry is taken out of a list only by writing the whole list
    return Patch({"agents": {"list": then}}, ("agents.list",))


def _changes(now: Json, then: Json) -> Json:
    changes: Json = {
        agent: merge_patch(now.get(agent, {}), entry) for agent, entry in then.items() if entry != now.get(agent)
    }
    return {**changes, **dict.fromkeys(now.keys() - then.keys())}


def merge_patch(now: Json, then: Json) -> Json:
    """The merge patch that turns one object into another. A null within `then` cannot be expressed."""
    patch: Json = dict.fromkeys(now.keys() - then.keys())
    for name, value in then.items():
        old = now.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := merge_patch(old, value):
                patch[name] = inner
        elif name not in now or old != value:
            patch[name] = copy.deepcopy(value)
    return patch


def _patch(form: str, changes: Mapping[str, Any]) -> Patch:
    if form == "entries":
        return Patch({"agents": {"entries": dict(changes)}}, _replace_paths(form, changes))
    listed = [{"id": agent, **change} for agent, change in changes.items()]
    return Patch({"agents": {"list": listed}}, _replace_paths(form, changes))


def _replace_paths(form: str, agents: Mapping[str, object]) -> tuple[str, ...]:
    places = [f"agents.entries.{agent}" for agent in agents] if form == "entries" else ["agents.list[]"]
    return tuple(f"{place}.{array}" for place in places for array in ("model.fallbacks", "tools.deny"))


def _denied(entry: Json) -> list[Any]:
    denied = _table(entry.get("tools")).get("deny")
    return denied if isinstance(denied, list) else []


def _told(stood: Stood) -> str:
    if not stood.there:
        return "none of its own"
    if isinstance(stood.value, dict):
        return str(stood.value.get("primary", stood.value))
    return str(stood.value)


def _entries(agents: Json) -> list[Json]:
    listed = agents.get("list")
    entries = listed if isinstance(listed, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _includes(value: object) -> bool:
    if isinstance(value, dict):
        return "$include" in value or any(_includes(inner) for inner in value.values())
    return isinstance(value, list) and any(_includes(inner) for inner in value)


def _table(value: object) -> Json:
    return value if isinstance(value, dict) else {}
