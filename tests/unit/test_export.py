"""`clawtop export`: who may read, what is told while history is read, and how it begins and ends."""

import asyncio
import gzip
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from clawtop.cli import main
from clawtop.engine import Engine
from clawtop.export import Scrapes, Terms, listen, parse_address
from clawtop.exposition import Exposition
from clawtop.model.errors import ClawtopError, UsageError
from clawtop.model.selection import Scope
from clawtop.model.snapshot import Health, SourceStatus, View
from clawtop.sources import Outlet
from tests.openclaw_homes import T0, answer, header, session_file
from tests.unit.fleet.made import CODER, NOW, call

CHECKOUT = Path(__file__).parents[2]


class Calls:
    """A source with two calls, which says that it has read them once it may."""

    uri = "calls:"

    def __init__(self, *, finished: bool) -> None:
        self._finished = finished

    async def run(self, outlet: Outlet, *, follow: bool) -> None:
        await outlet.put([call("a"), call("b", key=CODER._replace(agent="other"))])
        if not self._finished:
            await asyncio.Event().wait()
        outlet.report(SourceStatus(self.uri, Health.OK))


@contextmanager
def running(*, finished: bool = True) -> Iterator[Engine]:
    """An engine that has read all there is, or never will."""
    engine = Engine([Calls(finished=finished)], View())
    engine.start()
    try:
        if finished:
            assert engine.caught_up(20)
        yield engine
    finally:
        engine.stop()


@asynccontextmanager
async def asking(engine: Engine, terms: Terms | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application alone."""
    app = Scrapes(engine, Exposition(1000, started=NOW), terms or Terms())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://clawtop") as client:
        yield client


async def test_a_scrape_in_both_formats() -> None:
    with running() as engine:
        async with asking(engine) as client:
            plain = await client.get("/metrics", headers={"accept": "text/plain"})
            wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
            modern = await client.get("/metrics", headers={"accept": wanted})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert modern.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert modern.text.endswith("# EOF\n")
    for text, parse in ((plain.text, parse_plain), (modern.text, parse_openmetrics)):
        samples = [sample for family in parse(text) for sample in family.samples]
        calls = {sample.labels["agent"]: sample.value for sample in samples if sample.name == "clawtop_calls_total"}
        assert calls == {"coder": 1, "other": 1}
        assert {"clawtop_source_up", "process_resident_memory_bytes"} <= {sample.name for sample in samples}


async def test_whoever_takes_gzip_gets_it() -> None:
    with running() as engine:
        async with (
            asking(engine) as client,
            client.stream("GET", "/metrics", headers={"accept-encoding": "gzip"}) as answer_,
        ):
            raw = b"".join([chunk async for chunk in answer_.aiter_raw()])
    assert answer_.headers["content-encoding"] == "gzip"
    assert b"clawtop_calls_total" in gzip.decompress(raw)


async def test_nothing_is_told_before_history_has_been_read() -> None:
    with running(finished=False) as engine:
        async with asking(engine) as client:
            early = await client.get("/metrics")
        async with asking(engine, Terms(patience=-1)) as client:
            anyway = await client.get("/metrics")
    assert (early.status_code, early.headers["retry-after"]) == (503, "2")
    assert "still being read" in early.text
    assert anyway.status_code == 200


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("Bearer secret", 200),
        ("bearer  secret ", 200),
        ("Bearer secret2", 401),
        ("Bearer ", 401),
        ("Basic secret", 401),
        ("secret", 401),
        (None, 401),
    ],
)
async def test_a_token_opens_the_door(shown: str | None, status: int) -> None:
    with running() as engine:
        async with asking(engine, Terms(token="secret")) as client:
            found = await client.get("/metrics", headers={"authorization": shown} if shown else {})
    assert found.status_code == status
    assert "secret" not in found.text + str(found.headers)


async def test_what_else_is_asked() -> None:
    with running() as engine:
        async with asking(engine) as client:
            assert (await client.get("/")).text == "clawtop export: the metrics are at /metrics\n"
            assert (await client.get("/secret")).status_code == 404
            posted = await client.post("/metrics", content=b"x" * 1000)
            head = await client.head("/metrics")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000


async def test_a_scope_leaves_out_the_others() -> None:
    with running() as engine:
        async with asking(engine, Terms(Scope(agents=("cod*",)))) as client:
            text = (await client.get("/metrics")).text
    assert 'agent="coder"' in text
    assert 'agent="other"' not in text


async def test_what_fails_inside_is_told_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise ValueError("the secret")

    monkeypatch.setattr(Exposition, "text", broken)
    with running() as engine:
        async with asking(engine) as client:
            found = await client.get("/metrics")
    assert found.status_code == 500
    assert "secret" not in found.text


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), ("[::1]:80", ("::1", 80)), ("localhost:0", ("localhost", 0))],
)
def test_an_address(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["9464", ":9464", "host:", "host:x", "host:65536", "", "host:²"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_address(text)


def test_a_port_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
        with pytest.raises(ClawtopError, match=f"cannot listen on 127.0.0.1:{port}: .* already"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_here() -> None:
    with pytest.raises(ClawtopError, match=r"there is no nowhere\.invalid"):
        listen("nowhere.invalid", 9464)


def test_what_cannot_be_a_name_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"^--listen: a\.\.b is no name of a host$"):
        listen("a..b", 80)


@pytest.fixture
def home(tmp_path: Path) -> str:
    """A home with one agent, as a source URI."""
    session_file(tmp_path / "oc", "main", "s1", [header("s1"), answer("e1", T0), answer("e2", T0 + 1)])
    return f"openclaw:{tmp_path / 'oc'}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(home: str, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "clawtop", "export", "--listen", "127.0.0.1:0", "-s", home]
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("clawtop: serving http://127.0.0.1:")
        url = said.split()[2]
        with httpx.Client(transport=httpx.HTTPTransport(retries=3), trust_env=False, timeout=20) as client:
            while (found := client.get(url)).status_code == 503:
                pass
            assert 'clawtop_calls_total{agent="main"' in found.text
            port = httpx.URL(url).port
            taken = subprocess.run(
                [*command[:-3], f"127.0.0.1:{port}"],
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            process.send_signal(number)
            assert process.wait(20) == 0
        assert process.stderr.read() == ""
    assert (taken.returncode, taken.stderr.count("\n")) == (1, 1)
    assert "already" in taken.stderr


def test_another_address_without_a_token_is_said_loudly(home: str) -> None:
    command = [sys.executable, "-m", "clawtop", "export", "--listen", "0.0.0.0:0", "-s", home]
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "WARNING: whoever reaches 0.0.0.0:0 can read" in process.stderr.readline()
        assert "serving" in process.stderr.readline()
        process.terminate()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["export", "--listen", "nonsense"], "HOST:PORT"),
        (["export", "--max-series", "0"], "less than 1"),
        (["export", "--token-file", "/nowhere/token"], "cannot be read"),
        (["--format", "prometheus", "-b"], "clawtop export"),
        (["--format", "prometheus", "-f", "cost>1"], "takes -p, -a and -u"),
        (["--format", "prometheus", "-w", "1h"], "takes -p, -a and -u"),
        (["--format", "prometheus", "--json"], "one of them"),
    ],
)
def test_what_cannot_be_understood_is_one_line(
    arguments: list[str], what: str, home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "-s", home]) == 2
    err = capsys.readouterr().err
    assert what in err
    assert err.count("\n") == 1


def test_a_token_file_is_never_shown(tmp_path: Path, home: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("two words")
    assert main(["export", "--token-file", str(tmp_path / "token"), "-s", home]) == 2
    err = capsys.readouterr().err
    assert "holds no token" in err
    assert "words" not in err


def test_a_single_look(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--once", "--format", "prometheus", "-s", home]) == 0
    out = capsys.readouterr().out
    calls = [s for f in parse_plain(out) for s in f.samples if s.name == "clawtop_calls_total"]
    assert [(sample.labels["agent"], sample.value) for sample in calls] == [("main", 2)]
    assert main(["--format", "prometheus", "-s", home, "-a", "nobody"]) == 0
    assert "clawtop_calls_total{" not in capsys.readouterr().out


def test_the_other_formats_by_the_same_word(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, begins in (("json", '{"schema"'), ("csv", "agent,host"), ("text", "clawtop - ")):
        assert main(["--format", name, "-s", home]) == 0
        assert capsys.readouterr().out.startswith(begins)


def test_a_port_is_free_again_at_once(home: str) -> None:
    with listen("127.0.0.1", 0) as door:
        port = door.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), door.accept()[0] as served:
            served.sendall(b"one that is closed here first")
    listen("127.0.0.1", port).close()
