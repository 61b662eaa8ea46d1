"""The least that a reader of a home has to do: find the entries with usage, decode them, add their tokens.

What clawtop takes is measured as a multiple of it, so that a figure of one machine says something on another.
"""

import sqlite3
import sys
from pathlib import Path

import orjson
import zstandard


def main(home: Path) -> int:
    """The tokens of a home without forks."""
    tokens = sum(lines_of(path) for path in home.glob("agents/*/sessions/*.jsonl"))
    return tokens + sum(rows_of(path) for path in home.glob("agents/*/agent/openclaw-agent.sqlite"))


def lines_of(path: Path) -> int:
    """The tokens of a session file."""
    with path.open("rb", buffering=1 << 20) as lines:
        return sum(tokens_of(line) for line in lines if b'"usage"' in line)


def rows_of(path: Path) -> int:
    """The tokens of an agent's database."""
    press, total = zstandard.ZstdDecompressor(), 0
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    for text, frame in database.execute("SELECT CAST(event_json AS BLOB), event_zstd FROM transcript_events"):
        raw = text if frame is None else press.decompress(frame)
        if b'"usage"' in raw:
            total += tokens_of(raw)
    database.close()
    return total


def tokens_of(raw: bytes) -> int:
    """The tokens of an entry."""
    tokens = orjson.loads(raw)["message"]["usage"]["totalTokens"]
    return int(tokens)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
