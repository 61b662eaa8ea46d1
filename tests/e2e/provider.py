"""A model provider on loopback that speaks OpenAI chat completions, so that a real gateway can be driven for nothing.

    python provider.py PORT REQUEST_LOG

The model's name, or a word in the newest message of a person, chooses what happens:

    model  normal · slow · toolloop · err401 err404 err429 err500 err529
           flaky429 · flaky529 (two failures, then fine) · quota429 (two short refusals, then one for the day)
    word   SLOWPLEASE  75 chunks, one a second    DOTOOLS    three short exec calls
           TOOLLOOP    up to MAXLOOP reads        SLEEPTOOL  one exec of `sleep 90`
           SPAWN       one subagent               SPAWNFORK  one with a copy of its parent's history
           BIGOUT      one long answer that compresses well

Each request and each answer is a JSON line in REQUEST_LOG: {"ev": "req" | "resp" | "client_gone", "ts": …, "model": …}.
The "req" lines say whether an agent that is paused still reaches its model.
"""

import itertools
import json
import os
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

Body = dict[str, Any]

ERRORS = {
    "err401": (401, "invalid_api_key"),
    "err404": (404, "model_not_found"),
    "err429": (429, "rate_limit_exceeded"),
    "err500": (500, "server_error"),
    "err529": (529, "overloaded_error"),
}
FLAKY = {"flaky429": "err429", "flaky529": "err529", "quota429": "err429"}
FAILURES_OF_A_FLAKY_MODEL = 2
MAXLOOP = int(os.environ.get("CLAWTOP_E2E_MAXLOOP", "60"))
SLOW_CHUNKS = 75
BOOT = uuid.uuid4().hex[:8]  # tool calls keep distinct ids over a restart


@dataclass
class Desk:
    """What all requests share: the log, the numbering and how often a flaky model has failed for whom."""

    log: Path
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    failures: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, **fields: object) -> None:
        """Appends one line to the log."""
        with self.lock, self.log.open("a") as log:
            log.write(json.dumps({"ts": time.time(), **fields}) + "\n")

    def fails(self, model: str, asked: str) -> tuple[int, str, str] | None:
        """The status, code and words this request is refused with, None where it is answered."""
        name = FLAKY.get(model, model)
        if name not in ERRORS:
            return None
        status, code = ERRORS[name]
        with self.lock:
            count = self.failures[asked[-60:]] = self.failures.get(asked[-60:], 0) + (model in FLAKY)
        if count <= FAILURES_OF_A_FLAKY_MODEL:
            return status, code, f"mock {status}"
        # A quota for the day is what a gateway does not wait for: it falls back at once.
        return (status, code, "mock daily request limit reached") if model == "quota429" else None


@dataclass(frozen=True)
class Answer:
    """What the model says: text in pieces, or one tool call."""

    pieces: list[str]
    pause: float
    tool: Body | None
    usage: Body

    @property
    def finish(self) -> str:
        """The finish reason."""
        return "tool_calls" if self.tool else "stop"


def text_of(message: Body) -> str:
    """A message's words."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def is_persons(message: Body) -> bool:
    """Whether a person wrote it, and not the gateway in a person's name."""
    return message.get("role") == "user" and "BEGIN_OPENCLAW_INTERNAL_CONTEXT" not in text_of(message)


def last_asked(messages: list[Body]) -> tuple[str, int]:
    """(the newest message of a person, how many tool results came after it)."""
    done = 0
    for message in reversed(messages):
        if is_persons(message):
            return text_of(message), done
        done += message.get("role") == "tool"
    return "", done


def tool_call(model: str, asked: str, done: int, offered: frozenset[str]) -> tuple[str, Body] | None:
    """The tool the model asks for next, with its arguments, `offered` being what the gateway lets it choose from."""
    if (model == "toolloop" or "TOOLLOOP" in asked) and done < MAXLOOP:
        return "read", {"path": "notes.txt"}
    if "DOTOOLS" in asked and done < 3:
        return "exec", {"command": f"echo step-{done}; sleep 0.2"}
    if "SLEEPTOOL" in asked and done < 1:
        return "exec", {"command": "sleep 90"}
    if "SPAWN" in asked and done < 1:
        spawn: Body = {"task": "Say hello from the subagent", "label": "sub1"}
        if "SPAWNFORK" in asked:
            spawn["context"] = "fork"
        # 2026.9 hides most tools behind one that calls them by name.
        direct = "sessions_spawn" in offered
        return ("sessions_spawn", spawn) if direct else ("tool_call", {"id": "sessions_spawn", "args": spawn})
    return None


def answer(number: int, body: Body, size: int) -> Answer:
    """What the model answers to a request of `size` bytes."""
    model = body.get("model", "normal")
    asked, done = last_asked(body.get("messages", []))
    offered = frozenset(tool.get("function", {}).get("name", "") for tool in body.get("tools") or [])
    slow = model == "slow" or "SLOWPLEASE" in asked
    pieces = [word + " " for word in f"Mock answer {number} from {model}".split()]
    if "BIGOUT" in asked:
        pieces = [" ".join(f"line {i} of a long compressible mock answer." for i in range(160))]
    elif slow:
        pieces = [f"chunk{i} " for i in range(SLOW_CHUNKS)]
    called = tool_call(model, asked, done, offered)
    prompt, output = max(50, size // 4), len(pieces) + (20 if called else 0)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": prompt * 6 // 10},
        "completion_tokens_details": {"reasoning_tokens": min(7, output)},
    }
    tool = called and {
        "id": f"call_{BOOT}_{number}",
        "type": "function",
        "function": {"name": called[0], "arguments": json.dumps(called[1])},
    }
    return Answer(pieces, 1.0 if slow else 0.01, tool, usage)


class Handler(BaseHTTPRequestHandler):
    """One connection of the gateway."""

    protocol_version = "HTTP/1.1"
    desk: ClassVar[Desk]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class calls it so)
        """Says nothing: the request log says it all."""

    def do_GET(self) -> None:
        """The models there are."""
        self.send_json(200, {"object": "list", "data": [{"id": "normal", "object": "model"}]})

    def do_POST(self) -> None:
        """A chat completion."""
        size = int(self.headers.get("content-length", 0))
        body: Body = json.loads(self.rfile.read(size) or b"{}")
        model, messages, number = body.get("model", "normal"), body.get("messages", []), next(self.desk.numbers)
        asked, _ = last_asked(messages)
        self.desk.note(ev="req", id=number, model=model, messages=len(messages), asked=asked[-120:])
        failure = self.desk.fails(model, asked)
        if failure:
            self.refuse(number, *failure)
            return
        said = answer(number, body, size)
        base = {"id": f"chatcmpl-{BOOT}-{number}", "created": int(time.time()), "model": model}
        try:
            if body.get("stream"):
                self.stream(base, said)
            else:
                self.send_whole(base, said)
        except (BrokenPipeError, ConnectionResetError):
            self.desk.note(ev="client_gone", id=number, model=model)
        else:
            self.desk.note(ev="resp", id=number, model=model, status=200, usage=said.usage)

    def refuse(self, number: int, status: int, code: str, words: str) -> None:
        """Answers with an error."""
        self.desk.note(ev="resp", id=number, status=status)
        headers = {"retry-after": "1"} if status == 429 else {}
        self.send_json(status, {"error": {"message": words, "type": code, "code": code}}, headers)

    def send_json(self, status: int, body: Body, headers: dict[str, str] | None = None) -> None:
        """Answers with one JSON object."""
        raw = json.dumps(body).encode()
        self.send_response(status)
        lines = {"content-type": "application/json", "content-length": str(len(raw)), **(headers or {})}
        for name, value in lines.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def send_whole(self, base: Body, said: Answer) -> None:
        """Answers without streaming."""
        message: Body = {"role": "assistant", "content": None if said.tool else "".join(said.pieces)}
        if said.tool:
            message["tool_calls"] = [said.tool]
        choice = {"index": 0, "message": message, "finish_reason": said.finish}
        self.send_json(200, {**base, "object": "chat.completion", "usage": said.usage, "choices": [choice]})

    def stream(self, base: Body, said: Answer) -> None:
        """Answers as server-sent events."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        chunk = {**base, "object": "chat.completion.chunk"}
        self.send_delta(chunk, {"role": "assistant", "content": None if said.tool else ""})
        if said.tool:
            self.send_delta(chunk, {"tool_calls": [{"index": 0, **said.tool}]})
            time.sleep(0.1)
        else:
            for piece in said.pieces:
                self.send_delta(chunk, {"content": piece})
                time.sleep(said.pause)
        self.send_delta(chunk, {}, said.finish)
        self.send_event({**chunk, "choices": [], "usage": said.usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.wfile.flush()

    def send_delta(self, chunk: Body, delta: Body, finish: str | None = None) -> None:
        """One piece of the answer."""
        self.send_event({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def send_event(self, event: Body) -> None:
        """One server-sent event."""
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.flush()


if __name__ == "__main__":
    Handler.desk = Desk(Path(sys.argv[2]))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
