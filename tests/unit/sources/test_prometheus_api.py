"""Where a Prometheus is, who may ask it, and everything that may come instead of an answer."""

import base64
from pathlib import Path

import pytest

from clawtop.cli import main
from clawtop.model.errors import SourceError, UsageError
from clawtop.sources import prometheus_api
from clawtop.sources.prometheus import PrometheusSource
from clawtop.sources.prometheus_api import parse_address
from tests.fake_prometheus import FakePrometheus, http, success
from tests.unit.sources.prometheus_stage import CODER, NOW, read, scrapes, source

SECRET = "hunter2"


# ---- what is no answer


async def refused(fake: FakePrometheus) -> str:
    """Why a source could not be read, which is one line."""
    with pytest.raises(SourceError) as caught:
        await read(source(fake))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (http(b"no", "401 Unauthorized", "text/plain"), "CLAWTOP_PROMETHEUS_TOKEN"),
        (http(b"no", "403 Forbidden", "text/plain"), "(403)"),
        (http(b"no", "404 Not Found", "text/plain"), "prefix"),
        (http(b"", "302 Found", more="Location: http://elsewhere/\r\n"), "points elsewhere (302)"),
        (http(b"oops", "500 Internal Server Error", "text/plain"), "answers 500"),
        (http(b'{"status":"error","errorType":"internal","error":"a\x1b[2J\\nb"}', "500 x"), "answers 500"),
        (
            http(b'{"status":"error","errorType":"timeout","error":"slow"}', "503 x"),
            "cannot answer (503): timeout: slow",
        ),
        (http(b"<html>log in</html>", kind="text/html"), "answers with text/html, not as a Prometheus does"),
        (http(b"", kind="application/json"), "not as a Prometheus does"),
        (http(b"{", kind="application/json"), "it is no JSON"),
        (http(b"{}", kind="application/json"), "no success"),
        (success({}), "it is no list"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "broke off: RemoteProtocolError"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off: RemoteProtocolError"),
        (http(b"xx", more="Content-Encoding: gzip\r\n"), "broke off: DecodingError"),
    ],
)
async def test_what_is_no_answer_is_one_clear_line(says: bytes, why: str) -> None:
    async with FakePrometheus(NOW) as fake:
        fake.says = lambda *_: says
        told = await refused(fake)
    assert why in told
    assert told.isprintable()
    assert told.startswith("127.0.0.1:")


async def test_nobody_there() -> None:
    async with FakePrometheus(NOW) as fake:
        pass
    told = await refused(fake)
    assert told.startswith("cannot reach 127.0.0.1:")
    assert told.endswith("Connection refused")


async def test_what_cannot_be_a_name_is_one_clear_line() -> None:
    with pytest.raises(SourceError, match=r"^cannot reach a\.\.b:9090: "):
        await read(PrometheusSource(parse_address("prometheus:http://a..b:9090")))


async def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_api, "_SECONDS", 0.05)

    async with FakePrometheus(NOW) as fake:
        fake.says = lambda *_: b"HTTP/1.1 200 OK\r\n"
        fake.hold = True
        assert "did not answer within 0.05 s" in await refused(fake)


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_api, "MOST_BYTES", 1 << 20)
    async with FakePrometheus(NOW) as fake:
        fake.says = lambda *_: http(b"{" + b" " * (3 << 20))
        assert "more than 1 MB" in await refused(fake)


# ---- credentials


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("userinfo", "token", "header"),
    [
        ("", "", None),
        ("", SECRET, f"Bearer {SECRET}"),
        (f"zaphod:{SECRET}@", "", basic(f"zaphod:{SECRET}")),
        ("zaphod@", SECRET, basic(f"zaphod:{SECRET}")),
        ("zaphod%40b:p%2Fq@", "", basic("zaphod@b:p/q")),
        ("zaphod:4711@", SECRET, basic("zaphod:4711")),
    ],
)
async def test_credentials_are_sent_and_never_shown(userinfo: str, token: str, header: str | None) -> None:
    async with FakePrometheus(NOW) as fake:
        fake.add("clawtop_calls_total", scrapes((10, 1)), **CODER)
        one = source(fake, userinfo, CLAWTOP_PROMETHEUS_TOKEN=token)
        told = await read(one)
        fake.says = lambda *_: http(b"", "401 Unauthorized")
        with pytest.raises(SourceError) as caught:
            await read(one)
        assert one.uri == f"prometheus:{fake.url}"
    assert {headers.get("authorization") for _, _, headers in fake.asked} == {header}
    shown = f"{told.statuses} {told.events} {caught.value} {one.uri}"
    assert not any(secret in shown for secret in (SECRET, "zaphod", "4711", "p%2Fq", "p/q"))


def test_a_token_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    address = parse_address("prometheus:http://far:9090", {}, path)
    assert address.auth is not None
    assert SECRET not in repr(address)
    assert address.warnings == ["the credentials for far:9090 cross the network unencrypted: use https:// or `ssh -L`"]
    assert parse_address("prometheus:https://far", {}, path).warnings == []
    assert parse_address("prometheus:http://127.0.0.1:9090", {}, path).warnings == []
    assert parse_address("prometheus:http://far:9090").warnings == []
    path.write_text(f"{SECRET} {SECRET}")
    with pytest.raises(UsageError) as caught:
        parse_address("prometheus:http://far:9090", {}, path)
    assert SECRET not in str(caught.value)


def test_the_settings_in_force_show_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAWTOP_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.setenv("CLAWTOP_SOURCES", f"prometheus:http://zaphod:{SECRET}@far:9090/prom,events:/x")
    assert main(["config"]) == 0
    assert 'sources = ["prometheus:http://far:9090/prom", "events:/x"]' in capsys.readouterr().out


def test_a_gateways_token_is_not_shown_to_a_prometheus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(SECRET)
    both = ["-s", "gateway:ws://127.0.0.1:1", "-s", "prometheus:http://127.0.0.1:1"]
    assert main(["--once", "--token-file", str(tmp_path / "token"), *both]) == 2
    assert "CLAWTOP_PROMETHEUS_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("CLAWTOP_PROMETHEUS_TOKEN", "its own")
    assert main(["--once", "--token-file", str(tmp_path / "token"), *both]) == 1


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("prometheus:http://h:9090", "http://h:9090"),
        ("prometheus:http://h:9090/", "http://h:9090"),
        ("prometheus:https://h/prom/", "https://h/prom"),
        ("prometheus:http://h/api/v1/", "http://h"),
        ("prometheus:http://[::1]:9090", "http://[::1]:9090"),
    ],
)
def test_where_it_is(uri: str, url: str) -> None:
    assert parse_address(uri).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:9090",
        "ftp://ann:hunter2@h",
        "http://",
        "http://ann:hunter2@h:x",
        "http://ann:hunter2@h?q",
        "//ann:hunter2@h",
    ],
)
def test_what_names_no_prometheus(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, why in (("prometheus", "names no Prometheus"), ("promtehus", "no known kind")):
        assert main(["--once", "-s", f"{kind}:{url}"]) == 2
        err = capsys.readouterr().err
        assert why in err
        assert err.count("\n") == 1
        assert SECRET not in err
