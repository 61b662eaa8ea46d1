"""Settings: defaults, file, environment, flags; and what is wrong with them in one line each."""

import tomllib
from pathlib import Path

import pytest

from clawtop import config
from clawtop.cli import main
from clawtop.config import Settings, load
from clawtop.control.hook import HookCommand, HookRequest
from clawtop.control.process_rule import ProcessRule
from clawtop.formats.otlp.senders import AttributeMap
from clawtop.model.errors import UsageError
from tests.openclaw_homes import T0, answer, header, session_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(path: Path, text: str, environment: dict[str, str] | None = None, **flags: object) -> Settings:
    path.write_text(text)
    return load({"CLAWTOP_CONFIG": str(path), **(environment or {})}, flags)


def test_later_layers_win_and_say_where_from(path: Path) -> None:
    settings = loaded(path, 'window = "24h"\ndelay = 2\nsort = "cost"', {"CLAWTOP_DELAY": "3"}, sort="-name")
    assert (settings.window, settings.delay, settings.sort, settings.group_by) == ("24h", 3.0, "-name", "agent")
    assert settings.origins == {"window": str(path), "delay": "$CLAWTOP_DELAY", "sort": "command line"}
    assert not settings.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense = 1", "nonsense is no setting; one of"),
        ('delay = "fast"', "delay is 'fast', expected seconds from 0.1 to 3600"),
        ("delay = true", "delay is 'True', expected seconds"),
        ('window = "2h"', "window is '2h', expected one of 1m"),
        ('sources = "demo:"', "sources is 'demo:', expected a list"),
        ('ascii = "yes"', "ascii is 'yes', expected true or false"),
        ("keys = 5", "[keys] expected a table"),
        ('[keys]\npreset = "emacs"', "keys.preset is 'emacs', expected htop or vim"),
        ("[[project]]\npath = '*'", "[[project]] is"),
        ("[[project]]\nname = 'x'\ncolour = 'red'", "[[project]] is"),
        ("control = 1", "[control] knows only"),
        ("[control]\nhold = true", "[control] knows only"),
        ("[control]\nconfig_hold = 1", "control.config_hold is '1', expected true or false"),
        ("[[control.hook]]\nname = 'x'", "control.hook is"),
        ("[[control.hook]]\npause = 'rm -rf /'", "control.hook is"),
        ("[[control.hook]]\npause = {url = 'file:///x'}", "control.hook is"),
        ("attributes = 1", "[attributes] is '1', expected lists of attribute names"),
        ('[attributes]\nproject = "tenant"', "[attributes] is"),
        ('[attributes]\ncolour = ["red"]', "[attributes] is"),
        ('filter = "cost>abc"', "filter: 'cost>abc' needs a number"),
        ("this is not toml", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_is_used(path: Path, text: str, problem: str) -> None:
    settings = loaded(path, text)
    (said,) = settings.problems
    assert problem in said
    assert str(path) in said
    assert settings.delay == Settings().delay
    assert settings.window == Settings().window


def test_environment_of_every_kind(path: Path) -> None:
    environment = {"CLAWTOP_SOURCES": "demo:,events:-", "CLAWTOP_ASCII": "1", "CLAWTOP_READONLY": "maybe"}
    settings = loaded(path, "", environment)
    assert settings.sources == ("demo:", "events:-")
    assert settings.ascii is True
    assert settings.readonly is False
    assert settings.problems == ("environment: CLAWTOP_READONLY is 'maybe', expected true or false",)


def test_a_named_file_must_be_there(path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load({}, {}, named=str(path))
    path.write_text("=")
    with pytest.raises(UsageError, match="cannot be read"):
        load({}, {}, named=str(path))


def test_what_is_printed_can_be_read_back(path: Path) -> None:
    text = 'filter = "a \\"quoted\\" \\\\ word"\ncolumns = ["state", "cost"]\n[keys]\nfilter = "f3"\n'
    settings = loaded(path, text + '[[project]]\nname = "billing"\npath = "/srv/billing*"\n')
    again = loaded(path, config.effective(settings, path))
    assert (again.filter, again.columns, again.keys, again.projects) == (
        settings.filter,
        settings.columns,
        settings.keys,
        settings.projects,
    )


def test_the_commented_default_changes_nothing_and_is_written_once(path: Path) -> None:
    assert tomllib.loads(config.commented_default()) == {}
    uncommented = "\n".join(line[2:] for line in config.commented_default().splitlines() if " = " in line)
    assert loaded(path, uncommented.split("preset = ")[0]).problems == ()
    path.unlink()
    config.write_default(path)
    with pytest.raises(UsageError, match="exists already"):
        config.write_default(path)


def test_the_command_prints_what_is_in_force(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text('window = "24h"\n')
    assert main(["config", "--config", str(path), "-d", "5"]) == 0
    out = capsys.readouterr().out
    assert f'window = "24h"  # {path}' in out
    assert "delay = 5  # command line" in out
    assert 'sort = "usd_per_hour"  # default' in out


def test_a_broken_setting_costs_nobody_the_report(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session_file(tmp_path / "oc", "main", "s1", [header("s1"), answer("e1", T0)])
    path.write_text(f'windw = "all"\nsources = ["openclaw:{tmp_path / "oc"}"]\n')
    assert main(["--once", "-w", "all", "--config", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "main" in out
    assert "windw is no setting" in err


def test_a_source_of_the_config_that_cannot_be_understood_costs_nobody_the_others(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session_file(tmp_path / "oc", "main", "s1", [header("s1"), answer("e1", T0)])
    path.write_text(f'sources = ["nope:/x", "openclaw:{tmp_path / "oc"}"]\n')
    assert main(["--once", "-w", "all", "--config", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "main" in out
    assert f"{path}: sources: source 'nope:/x' is of no known kind" in err
    assert main(["config", "--config", str(path)]) == 1
    assert "# problem: " in capsys.readouterr().out


def test_a_default_is_written_where_one_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--write", "--config", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert path.read_text() == config.commented_default()


def test_project_rules_come_after_tags_and_before_the_working_directory(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session_file(tmp_path / "oc", "main", "s1", [header("s1", cwd="/srv/billing-api"), answer("e1", T0)])
    session_file(tmp_path / "oc", "main", "s2", [header("s2", cwd="/srv/other"), answer("e2", T0)])
    path.write_text('[[project]]\nname = "billing"\npath = "/srv/billing*"\n')
    uri = f"openclaw:{tmp_path / 'oc'}"
    assert main(["--csv", "-g", "project", "-w", "all", "-s", uri, "--config", str(path)]) == 0
    rows = {line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows == {"billing", "other"}


def test_hooks_stop_what_no_gateway_runs(path: Path) -> None:
    text = """
    [control]
    config_hold = false
    [[control.hook]]
    agent = "billing-*"
    pause = ["systemctl", "stop", "billing"]
    resume = {url = "https://ops/resume", headers = {Authorization = "OPS_TOKEN"}}
    timeout = 3
    """
    settings = loaded(path, text)
    (hook,) = settings.hooks
    assert settings.config_hold is False
    assert (hook.name, hook.agent, hook.project) == ("hook 1", "billing-*", "*")
    assert hook.pause == HookCommand(("systemctl", "stop", "billing"), 3.0)
    assert hook.resume == HookRequest("https://ops/resume", "POST", {"Authorization": "OPS_TOKEN"}, 3.0)
    assert hook.abort is None


def test_processes_are_named_by_a_pid_file_or_a_command(path: Path) -> None:
    text = """
    [[control.process]]
    agent = "billing-*"
    pidfile = "/run/billing.pid"
    [[control.process]]
    agent = "bot"
    project = "api"
    host = "ci"
    command = "python* */bot.py*"
    """
    settings = loaded(path, text)

    assert settings.problems == ()
    assert settings.processes == (
        ProcessRule("billing-*", pidfile="/run/billing.pid"),
        ProcessRule("bot", "api", "ci", command="python* */bot.py*"),
    )
    assert "# process of agent billing-*, project *" in config.effective(settings, path)


@pytest.mark.parametrize(
    "rule",
    [
        'agent = "bot"',
        'pidfile = "/run/x"',
        'agent = "bot"\npidfile = "/run/x"\ncommand = "x"',
        'agent = "bot"\npidfile = ""',
        'agent = "bot"\ncommand = "* *"',
        'agent = "bot"\ncommand = 5',
        'agent = "bot"\ncommand = "x"\nsignal = "KILL"',
    ],
)
def test_a_process_that_is_not_named_clearly_is_a_problem(path: Path, rule: str) -> None:
    settings = loaded(path, f"[[control.process]]\n{rule}\n")

    assert settings.processes == ()
    assert "control.process" in settings.problems[0]
    assert "pidfile or command" in settings.problems[0]


def test_attributes_of_otlp_senders_are_mapped_one_by_one(path: Path) -> None:
    settings = loaded(path, '[attributes]\nproject = ["tenant.id"]')
    assert settings.attributes == AttributeMap(project=("tenant.id",))
    assert 'project = ["tenant.id"]' in config.effective(settings, path)
