"""Where a gateway is found: its config, its lease, the environment, a token file; and what is warned of."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clawtop.gateway.addresses import USUAL_PORT, find_address, parse_address, token_warnings
from clawtop.gateway.config_file import Unset, read_gateway_section, resolve
from clawtop.gateway.connection import GatewayAddress
from clawtop.model.errors import UsageError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state directory nobody else can look into."""
    folder = tmp_path / ".openclaw"
    folder.mkdir(mode=0o700)
    return folder


def configure(home: Path, text: str, name: str = "openclaw.json") -> Path:
    path = home / name
    path.write_text(text)
    return path


def found(home: Path, environment: dict[str, str] | None = None, token_file: Path | None = None) -> GatewayAddress:
    address, warnings = find_address(home, None, environment or {}, token_file)
    assert address is not None
    assert warnings == []
    return address


def lease(home: Path, payload: str) -> None:
    (home / "state").mkdir()
    with closing(sqlite3.connect(home / "state" / "openclaw.sqlite")) as database:
        database.execute("CREATE TABLE state_leases (scope TEXT, payload_json TEXT, updated_at INTEGER)")
        database.execute("INSERT INTO state_leases VALUES ('gateway-owner', ?, 1)", (payload,))
        database.commit()


def test_port_and_token_stand_in_the_config_which_is_json5(home: Path) -> None:
    configure(home, "// mine\n{gateway: {port: 19001, auth: {mode: 'token', token: 'abc'},},}")
    address = found(home)
    assert (address.url, address.token, address.verify) == ("ws://127.0.0.1:19001", "abc", True)


def test_the_config_may_lie_beside_the_state_directory_or_be_named(home: Path) -> None:
    configure(home.parent, '{"gateway": {"port": 19002}}')
    assert found(home).url == "ws://127.0.0.1:19002"
    named = configure(home.parent, '{"gateway": {"port": 19003}}', "other.json")
    address, _ = find_address(home, named, {})
    assert address == GatewayAddress("ws://127.0.0.1:19003", None)


def test_a_running_gateways_lease_knows_the_port_best(home: Path) -> None:
    configure(home, '{"gateway": {"port": 19001}}')
    assert found(home, {"OPENCLAW_GATEWAY_PORT": "19009"}).url == "ws://127.0.0.1:19009"
    lease(home, json.dumps({"owner": {"pid": 5}, "port": 19005}))
    assert found(home, {"OPENCLAW_GATEWAY_PORT": "19009"}).url == "ws://127.0.0.1:19005"


@pytest.mark.parametrize("payload", ["", "[]", "{", '{"port": "x"}', '{"port": 70000}', '{"port": true}'])
def test_a_lease_that_cannot_be_read_says_nothing(home: Path, payload: str) -> None:
    configure(home, '{"gateway": {}}')
    lease(home, payload)
    assert found(home).url == f"ws://127.0.0.1:{USUAL_PORT}"


def test_a_state_database_that_is_none_says_nothing(home: Path) -> None:
    configure(home, "{}")
    (home / "state").mkdir()
    (home / "state" / "openclaw.sqlite").write_text("no database")
    assert found(home, {"OPENCLAW_GATEWAY_PORT": "no port"}).url == f"ws://127.0.0.1:{USUAL_PORT}"


def test_where_nothing_speaks_of_a_gateway_there_is_none(home: Path) -> None:
    assert find_address(home, None, {}) == (None, [])


def test_the_token_comes_from_a_file_before_the_environment_before_the_config(home: Path) -> None:
    configure(home, '{"gateway": {"auth": {"token": "of-the-config"}}}')
    assert found(home).token == "of-the-config"
    environment = {"OPENCLAW_GATEWAY_TOKEN": "of-the-environment"}
    assert found(home, environment).token == "of-the-environment"
    file = home / "token"
    file.write_text("of-the-file\n")
    file.chmod(0o600)
    assert found(home, environment, file).token == "of-the-file"


def test_references_are_followed_into_the_environment_and_the_homes_own_env_file(home: Path) -> None:
    configure(home, '{"gateway": {"auth": {"token": "${MY_TOKEN}-x"}}}')
    assert found(home, {"MY_TOKEN": "abc"}).token == "abc-x"
    (home / ".env").write_text("# mine\nexport MY_TOKEN='from-dot-env'\nnonsense\n")
    assert found(home).token == "from-dot-env-x"
    assert found(home, {"MY_TOKEN": "abc"}).token == "abc-x"


def test_a_secret_reference_to_the_environment_is_followed(home: Path) -> None:
    configure(home, '{"gateway": {"auth": {"token": {"source": "env", "provider": "default", "id": "T"}}}}')
    assert found(home, {"T": "abc"}).token == "abc"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ('"${NOT_SET}"', "${NOT_SET} is not set"),
        ('{"source": "env", "id": "NOT_SET"}', "${NOT_SET} is not set"),
        ('{"source": "exec", "id": "x"}', "only OpenClaw can follow"),
    ],
)
def test_a_token_that_cannot_be_had_is_said(home: Path, token: str, words: str) -> None:
    path = configure(home, f'{{"gateway": {{"auth": {{"token": {token}}}}}}}')
    address, warnings = find_address(home, None, {})
    assert address is not None
    assert address.token is None
    (warning,) = warnings
    assert words in warning
    assert str(path) in warning


def test_a_dollar_twice_is_no_reference() -> None:
    assert resolve("$${A}${B}${c}", {"B": "b"}) == "${A}b${c}"
    with pytest.raises(Unset, match="not set"):
        resolve("${B}", {"B": ""})


def test_included_files_are_merged_and_own_keys_win(home: Path) -> None:
    configure(home, '{"$include": "base.json5", "gateway": {"port": 19001}}')
    configure(
        home, "{gateway: {$include: ['./gateway.json5', 'nothing'], port: 5}, agents: {$include: 'no'}}", "base.json5"
    )
    configure(home, "{auth: {$include: 'auth.json5', mode: 'token'}}", "gateway.json5")
    configure(home, "{token: 'deep'}", "auth.json5")
    address, warnings = find_address(home, None, {})
    assert address is not None
    assert warnings  # the file called nothing is missing, so nothing of the config is trusted
    configure(home, "{gateway: {$include: ['./gateway.json5'], port: 5}, agents: {$include: 'no'}}", "base.json5")
    assert (found(home).url, found(home).token) == ("ws://127.0.0.1:19001", "deep")


@pytest.mark.parametrize(
    "text", ["{", "\x00\xff", '{"gateway": {"$include": "openclaw.json"}}', "x" * (5 << 20), "[" * 3000]
)
def test_a_config_that_cannot_be_read_is_said_and_the_usual_port_tried(home: Path, text: str) -> None:
    configure(home, text)
    address, (warning,) = find_address(home, None, {"OPENCLAW_GATEWAY_TOKEN": "t"})
    assert address == GatewayAddress(f"ws://127.0.0.1:{USUAL_PORT}", "t")
    assert "openclaw.json cannot be read" in warning


@pytest.mark.parametrize("gateway", ["[]", "5", '{"port": "x", "auth": [], "tls": 1, "remote": 5, "bind": {}}', "null"])
def test_what_is_no_gateway_section_says_nothing(home: Path, gateway: str) -> None:
    path = configure(home, f'{{"gateway": {gateway}}}')
    assert found(home) == GatewayAddress(f"ws://127.0.0.1:{USUAL_PORT}", None)
    assert read_gateway_section(path, {}).trouble == ()


def test_the_certificate_of_its_own_machine_vouches_for_itself_others_do_not(home: Path) -> None:
    configure(home, '{"gateway": {"port": 1, "tls": {"enabled": true}}}')
    assert found(home) == GatewayAddress("wss://127.0.0.1:1", None, verify=False)
    configure(
        home, '{"gateway": {"port": 1, "tls": {"enabled": true}, "bind": "custom", "customBindHost": "10.0.0.5"}}'
    )
    assert found(home) == GatewayAddress("wss://10.0.0.5:1", None, verify=True)


@pytest.mark.parametrize(
    "url", ["https://gw.example", "ws://", "ws://[::1", "not a url", "wss://gw.example?token=hush"]
)
def test_a_remote_gateway_whose_url_is_none_is_a_warning(home: Path, url: str) -> None:
    path = configure(home, json.dumps({"gateway": {"mode": "remote", "remote": {"url": url}}}))
    address, (warning,) = find_address(home, None, {})

    assert address is None
    assert warning.startswith(f"gateway.remote.url in {path} cannot be used, so its gateway is not watched: ")
    assert "hush" not in warning


def test_a_home_that_uses_a_remote_gateway_names_that(home: Path) -> None:
    configure(home, '{"gateway": {"mode": "remote", "remote": {"url": "wss://far.example:443", "token": "abc"}}}')
    assert found(home) == GatewayAddress("wss://far.example:443", "abc")


def test_a_password_stands_for_a_token(home: Path) -> None:
    configure(home, '{"gateway": {"auth": {"mode": "password", "password": "p", "token": "t"}}}')
    assert found(home).token == "p"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, as pytest's own may not be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        if not all(parent.stat().st_mode & 0o011 for parent in folder.parents):
            pytest.skip("this machine's temporary files are closed to others")
        yield folder


def test_a_token_that_others_can_read_is_warned_of(open_folder: Path) -> None:
    path = configure(open_folder, '{"gateway": {"auth": {"token": "abc"}}}')
    path.chmod(0o644)
    _, (warning,) = find_address(open_folder, None, {})
    assert "can be read by others" in warning
    assert "abc" not in warning
    path.chmod(0o600)
    assert find_address(open_folder, None, {})[1] == []
    file = open_folder / "token"
    file.write_text("abc")
    file.chmod(0o640)
    assert find_address(open_folder, None, {}, file)[1] != []
    assert token_warnings(GatewayAddress("ws://127.0.0.1:1", "abc"), file) != []
    open_folder.chmod(0o700)
    assert token_warnings(GatewayAddress("ws://127.0.0.1:1", "abc"), file) == []


@pytest.mark.parametrize("words", [b"", b"\n", b"two words", b"a\x1b[2Jb", b"x" * 5000])
def test_a_token_file_that_holds_no_token(home: Path, words: bytes) -> None:
    file = home / "token"
    file.write_bytes(words)
    with pytest.raises(UsageError, match="holds no token"):
        parse_address("gateway:ws://h:1", {}, file)


def test_a_token_file_that_is_missing(home: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        find_address(home, configure(home, "{}"), {}, home / "missing")


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("gateway:ws://box:18789", "ws://box:18789"),
        ("gateway:ws://box", f"ws://box:{USUAL_PORT}"),
        ("gateway:wss://box/", "wss://box:443"),
        ("gateway:wss://box:5/gw", "wss://box:5/gw"),
        ("gateway:ws://[::1]:5", "ws://[::1]:5"),
    ],
)
def test_a_uri_names_a_gateway(uri: str, url: str) -> None:
    assert parse_address(uri, {"OPENCLAW_GATEWAY_TOKEN": "abc"}) == GatewayAddress(url, "abc")
    assert parse_address(uri).token is None


@pytest.mark.parametrize(
    "uri",
    ["gateway:", "gateway:box:1", "gateway:http://box:1", "gateway:ws://", "gateway:ws://box:99999", "gateway:ws://[x"],
)
def test_a_uri_that_names_none(uri: str) -> None:
    with pytest.raises(UsageError, match="gateway:ws://HOST:PORT"):
        parse_address(uri)


@pytest.mark.parametrize(
    "uri", ["gateway:ws://me:sesame@box:1", "gateway:ws://box:1/?token=sesame", "gateway:sesame@box"]
)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError, match="--token-file") as caught:
        parse_address(uri)
    assert "sesame" not in str(caught.value)


def test_a_token_that_would_cross_a_network_in_the_open_is_warned_of() -> None:
    (warning,) = token_warnings(GatewayAddress("ws://10.0.0.5:1", "abc"), None)
    assert "unencrypted" in warning
    assert token_warnings(GatewayAddress("wss://10.0.0.5:1", "abc"), None) == []


@pytest.mark.parametrize("url", ["wss://far:99999999/?token=hush", "https://far/?token=hush", "wss://[far/#hush"])
def test_a_token_in_a_remote_gateways_url_is_not_told(tmp_path: Path, url: str) -> None:
    (tmp_path / "openclaw.json").write_text(json.dumps({"gateway": {"mode": "remote", "remote": {"url": url}}}))
    address, warnings = find_address(tmp_path, None, {})

    assert address is None
    assert "takes no user, password or token" in " ".join(warnings)
    assert "hush" not in " ".join(warnings)
