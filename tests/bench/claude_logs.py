"""Claude Code's logs of any size, made up but shaped like real ones: the same seed gives the same bytes.

    python -m tests.bench.claude_logs FOLDER [--megabytes 200] [--projects 8] [--seed 1]

What makes them hard to count is all there: a message on several lines whose output grows, results of tools between
those lines, caches of five minutes and of an hour, retries, fallbacks and turns that fail, subagents in files of
their own, sessions that were resumed into a new file with all their messages in it, and old lines with a cost.
Observed shape: Claude Code 1.0 (costUSD, copies on resume) to 2.1 (subagents, cache lifetimes).
"""

import argparse
import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Line = dict[str, Any]

BEGAN = 1_793_000_000_000  # Unix ms
SESSION_BYTES = 900_000
LARGEST_CONTEXT = 150_000  # a list price may be another one above 200,000
BUCKETS = ("input", "output", "cache_read", "cache_write")
PRICES = {  # dollars per million: input, output, cache read, cache write of 5 minutes, of 1 hour
    "claude-sonnet-4-5-20250929": (3, 15, 0.3, 3.75, 6),
    "claude-opus-4-5-20251101": (5, 25, 0.5, 6.25, 10),
    "claude-haiku-4-5-20251001": (1, 5, 0.1, 1.25, 2),
}
MODELS = tuple(PRICES)


@dataclass
class Truth:
    """What is in a folder of logs, of one agent or of all; `cost` is in dollars, `counts` what each message added."""

    cost: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, cost: float = 0.0, **counts: int) -> None:
        """Count something."""
        self.cost += cost
        self.counts.update(counts)


@dataclass(frozen=True)
class _Session:
    """Where a session's lines go, and what stands on each of them."""

    project: str
    cwd: str
    id: str
    model: str
    hourly: bool
    old: bool
    subagent: str | None = None

    @property
    def path(self) -> Path:
        folder = Path(self.project)
        return folder / self.id / "subagents" / f"agent-{self.subagent}.jsonl" if self.subagent else folder / self.name

    @property
    def name(self) -> str:
        return f"{self.id}.jsonl"


class Maker:
    """Makes sessions out of one stream of random numbers, and counts what it made."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.truth: dict[str, Truth] = {}
        self.written = 0
        self._folder = folder
        self._random = random.Random(seed)  # noqa: S311 (no secret, the same logs again)
        letters = "abcdefghijklmnopqrstuvwxyz_/."
        words = ["".join(self._random.choices(letters, k=n)) for n in range(2, 12) for _ in "12"]
        self._text = "\n".join(" ".join(self._random.choices(words, k=10)) for _ in range(20_000))
        self._now = BEGAN

    def session(self, cwd: str, number: int) -> None:
        """A session with its subagents; each fifth is an old one that was resumed into another file."""
        slug = "".join(each if each.isalnum() else "-" for each in cwd)
        model, old = MODELS[number % 3], number % 5 == 0
        made = _Session(slug, cwd, self._uuid(), model, hourly=number % 2 == 0 and not old, old=old)
        lines = list(self._lines(made, SESSION_BYTES))
        self._write(made, lines)
        if old:
            later = _Session(slug, cwd, self._uuid(), model, hourly=False, old=True)
            copies = [{**line, "sessionId": later.id} for line in lines]
            self._write(later, copies + list(self._lines(later, SESSION_BYTES // 20)))

    def _write(self, made: _Session, lines: list[Line]) -> None:
        path = self._folder / "projects" / made.path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        path.write_bytes(data)
        os.utime(path, (self._now / 1000, self._now / 1000))
        self.written += len(data)

    def _lines(self, made: _Session, size: int) -> Iterator[Line]:
        """Turns of a session of about that many bytes."""
        self._count(made).add(sessions=1)
        context, turn, spent = 9_000, 0, 0
        yield {"type": "file-history-snapshot", "messageId": self._uuid(), "snapshot": {"trackedFileBackups": {}}}
        while spent < size:
            turn += 1
            yield self._line(made, "user", message={"role": "user", "content": self._cut(200)})
            for round_ in range(4):
                context += self._random.randrange(300, 5_000)
                for line in self._round(made, context, turn, round_):
                    spent += len(json.dumps(line))
                    yield line
                if context > LARGEST_CONTEXT:
                    context = 9_000
                    yield self._compaction(made)
            yield from self._mishap(made, turn)

    def _round(self, made: _Session, context: int, turn: int, round_: int) -> Iterator[Line]:
        """One message on several lines, and the results of the tools it asked for."""
        if turn % 3 == 0 and round_ == 1:
            yield from self._errors(made, self._random.randrange(1, 4), "retries")
        model = made.model
        if turn % 7 == 0 and round_ == 2 and not made.old:
            yield from self._errors(made, 2, "retries")
            yield from self._errors(made, 1, "fallbacks")
            model = MODELS[(MODELS.index(model) + 1) % 3]
        tools = [f"toolu_{self._random.getrandbits(96):024x}" for _ in range(self._random.randrange(1, 4))]
        blocks: list[Line] = [{"type": "thinking", "thinking": self._cut(300), "signature": self._cut(400)}]
        blocks += [{"type": "text", "text": self._cut(200)}]
        blocks += [
            {"type": "tool_use", "id": tool, "name": "Bash", "input": {"command": self._cut(80), "id": "x"}}
            for tool in tools
        ]
        usage = self._usage(made, context)
        cost = self._cost(model, usage) if made.old else None
        identity, request = f"msg_01{self._random.getrandbits(100):025x}", f"req_011{self._random.getrandbits(80):020x}"
        grown = sorted(self._random.sample(range(1, 1 + usage["output_tokens"]), len(blocks) - 1))
        answered = []
        for place, (block, output) in enumerate(zip(blocks, [*grown, usage["output_tokens"]], strict=True)):
            last = place == len(blocks) - 1
            message = {
                "model": model,
                "id": identity,
                "type": "message",
                "role": "assistant",
                "content": [block],
                "stop_reason": "tool_use" if last else None,
                "stop_sequence": None,
                "usage": {**usage, "output_tokens": output},
            }
            known = {"costUSD": cost} if cost is not None else {}
            yield self._line(made, "assistant", message=message, requestId=request, **known)
            if block["type"] == "tool_use" and not last:  # tools run while the answer is still being written
                answered.append(block["id"])
                yield self._result(made, block["id"])
        for tool in tools:
            if tool not in answered:
                yield self._result(made, tool)
        self._tell(made, model, usage, len(tools), cost)
        if turn % 4 == 1 and round_ == 0 and made.subagent is None and not made.old:
            self._subagent(made)

    def _usage(self, made: _Session, context: int) -> Line:
        written, fresh = self._random.randrange(100, 3_000), self._random.randrange(2, 12)
        usage: Line = {
            "input_tokens": fresh,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": context - written - fresh if context > 4_000 else 0,
            "output_tokens": self._random.randrange(40, 1_500),
            "service_tier": "standard",
        }
        if not made.old:
            longer = written if made.hourly and made.subagent is None else 0
            lifetimes = {"ephemeral_5m_input_tokens": written - longer, "ephemeral_1h_input_tokens": longer}
            usage["cache_creation"] = lifetimes
        return usage

    def _cost(self, model: str, usage: Line) -> float:
        """Dollars, from the usage as it stands on the last line."""
        lifetimes = usage.get("cache_creation", {})
        longer = lifetimes.get("ephemeral_1h_input_tokens", 0)
        shorter = usage["cache_creation_input_tokens"] - longer
        amounts = (usage["input_tokens"], usage["output_tokens"], usage["cache_read_input_tokens"], shorter, longer)
        return float(sum(amount * price for amount, price in zip(amounts, PRICES[model], strict=True))) / 1e6

    def _tell(self, made: _Session, model: str, usage: Line, tools: int, logged: float | None) -> None:
        names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        buckets = {bucket: usage[name] for bucket, name in zip(BUCKETS, names, strict=True)}
        cost = self._cost(model, usage) if logged is None else logged
        self._count(made).add(cost, calls=1, tool_calls=tools, **buckets)

    def _result(self, made: _Session, tool: str) -> Line:
        text, failed = self._cut(self._random.randrange(300, 6_000)), self._random.random() < 0.05
        if failed:
            self._count(made).add(tool_errors=1)
        block: Line = {"tool_use_id": tool, "type": "tool_result", "content": text, "is_error": failed}
        result = {"stdout": text, "stderr": "", "interrupted": False, "isImage": False}
        return self._line(made, "user", message={"role": "user", "content": [block]}, toolUseResult=result)

    def _errors(self, made: _Session, count: int, then: str) -> Iterator[Line]:
        """Failed attempts, each of which is followed by another one."""
        for attempt in range(1, count + 1):
            inner = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            error = {"status": 529, "headers": {"x-should-retry": "true"}, "requestID": "req_1", "error": inner}
            self._count(made).add(errors=1, **{then: 1})
            more = {"retryInMs": 512.5 * 2**attempt, "retryAttempt": attempt, "maxRetries": 10}
            yield self._line(made, "system", subtype="api_error", level="error", error=error, **more)

    def _mishap(self, made: _Session, turn: int) -> Iterator[Line]:
        """Some turns end badly: given up after retries, or cut off by the person."""
        if turn % 5 == 0:
            yield from self._errors(made, 2, "retries")
            self._count(made).add(errors=1, failed_turns=1)
            text = 'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
            usage = dict.fromkeys(("input_tokens", "output_tokens", "cache_read_input_tokens"), 0)
            message: Line = {"id": self._uuid(), "model": "<synthetic>", "role": "assistant", "type": "message"}
            message |= {"content": [{"type": "text", "text": text}], "usage": usage, "stop_reason": "stop_sequence"}
            yield self._line(made, "assistant", message=message, isApiErrorMessage=True)
        elif turn % 6 == 0:
            self._count(made).add(aborts=1)
            content = [{"type": "text", "text": "[Request interrupted by user]"}]
            yield self._line(made, "user", message={"role": "user", "content": content})

    def _compaction(self, made: _Session) -> Line:
        self._count(made).add(compactions=1)
        about = {"compactMetadata": {"trigger": "auto", "preTokens": LARGEST_CONTEXT}}
        return self._line(made, "system", subtype="compact_boundary", content="Conversation compacted", **about)

    def _subagent(self, made: _Session) -> None:
        agent = f"a{self._random.getrandbits(64):016x}"
        child = _Session(made.project, made.cwd, made.id, MODELS[2], hourly=False, old=False, subagent=agent)
        self._write(child, list(self._lines(child, SESSION_BYTES // 10)))

    def _line(self, made: _Session, kind: str, **fields: Any) -> Line:
        self._now += self._random.randrange(200, 4_000)
        head: Line = {"parentUuid": self._uuid(), "isSidechain": made.subagent is not None}
        if made.subagent:
            head["agentId"] = made.subagent
        message = {"message": fields.pop("message")} if "message" in fields else {}
        tail = {"userType": "external", "cwd": made.cwd, "sessionId": made.id}
        tail |= {"version": "1.0.44" if made.old else "2.1.77", "gitBranch": "main"}
        at = datetime.fromtimestamp(self._now / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {**head, **message, "type": kind, **fields, "uuid": self._uuid(), "timestamp": at, **tail}

    def _count(self, made: _Session) -> Truth:
        return self.truth.setdefault(f"claude:{Path(made.cwd).name}", Truth())

    def _cut(self, length: int) -> str:
        start = self._random.randrange(len(self._text) - length)
        return self._text[start : start + length]

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


def write(folder: Path, megabytes: float, projects: int = 8, seed: int = 1) -> dict[str, Truth]:
    """Fills `folder/projects` with about that many megabytes; returns what each agent's logs hold."""
    maker = Maker(folder, seed)
    number = 0
    while maker.written < megabytes * 1e6:
        maker.session(f"/srv/team/project-{number % projects}", number)
        number += 1
    return maker.truth


def whole(truth: dict[str, Truth]) -> Truth:
    """What all agents' logs hold together."""
    together = Truth()
    for each in truth.values():
        together.add(each.cost, **each.counts)
    return together


def main() -> None:
    """Writes logs and prints what is in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--projects", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    truth = write(asked.folder, asked.megabytes, asked.projects, asked.seed)
    for agent, each in sorted(truth.items()):
        print(agent, f"${each.cost:.6f}", dict(each.counts))
    together = whole(truth)
    print("all", f"${together.cost:.6f}", dict(together.counts))


if __name__ == "__main__":
    main()
