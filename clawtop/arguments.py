"""The words of the command line."""

import argparse

from clawtop import __version__

VERBS = ("pause", "resume", "abort", "holds", "export")
"""First words with a parser of their own."""


def of_clawtop() -> argparse.ArgumentParser:
    """What `clawtop` understands without a verb; what is not given and can come from the config has no attribute."""
    parser = argparse.ArgumentParser(
        prog="clawtop",
        description="top for AI agents: what each agent burns, live. Without options: the screen, on everything found.",
        epilog="sources: openclaw:DIR  gateway:ws://HOST:PORT  claude:DIR  codex:DIR  events:PATH (a "
        "file, a folder, or - for standard input)  otlp://HOST:PORT (listens; 127.0.0.1:4318 unless named)  "
        "otlp-file:PATH  prometheus:URL  demo:  · clawtop pause|resume|abort AGENT, clawtop holds,"
        " clawtop export have their own --help",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("demo", "doctor", "config"),
        help="demo: a made-up fleet; doctor: what is found where; config: the settings in force",
    )
    parser.add_argument("--version", action="version", version=f"clawtop {__version__}")
    parser.add_argument("--config", metavar="PATH", help="instead of config.toml in the user's config directory")
    parser.add_argument("--write", action="store_true", help="with config: write a commented default")
    unless_given = argparse.SUPPRESS  # what is not given comes from the config
    what = parser.add_argument_group("what to show")
    what.add_argument(
        "-s", "--source", action="append", default=[], metavar="URI", help="instead of discovery; repeatable"
    )
    what.add_argument("-p", "--project", action="append", default=[], metavar="GLOB", help="only this project's calls")
    what.add_argument("-a", "--agent", action="append", default=[], metavar="GLOB")
    what.add_argument("-u", "--user", action="append", default=[], metavar="GLOB")
    what.add_argument(
        "-f", "--filter", default=unless_given, metavar="EXPR", help="rows: words, project:x, cost>5, !state:idle"
    )
    what.add_argument("-w", "--window", default=unless_given, metavar="WINDOW", help="1m 5m 15m 1h 24h 7d all")
    what.add_argument(
        "-g",
        "--group-by",
        default=unless_given,
        metavar="KEY",
        help="agent project user owner model provider session …",
    )
    what.add_argument(
        "--sort",
        default=unless_given,
        metavar="COLUMN",
        help="a number or text of the filter; --sort=-cost turns it round",
    )
    what.add_argument("-d", "--delay", type=float, default=unless_given, metavar="SECONDS")
    how = parser.add_argument_group("without a screen")
    how.add_argument("-b", "--batch", action="store_true", help="plain text, again and again, like top -b")
    how.add_argument(
        "-n", "--iterations", type=int, default=0, metavar="N", help="how often, with -b; 0 is without end"
    )
    how.add_argument("-1", "--once", action="store_true", help="read everything there is, print, end")
    how.add_argument("--json", action="store_true", help="one object a line")
    how.add_argument("--csv", action="store_true")
    how.add_argument(
        "--format",
        choices=("text", "json", "csv", "prometheus"),
        help="prometheus: counters since the beginning, as `clawtop export` serves them",
    )
    how.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="how long --once may read (30)")
    screen = parser.add_argument_group("the screen")
    screen.add_argument("--ascii", action="store_true", default=unless_given, help="no character outside ASCII")
    screen.add_argument("--mouse", action="store_true", default=unless_given, help="take the mouse from the terminal")
    parser.add_argument(
        "--token-file", metavar="PATH", help="a gateway's token, else OPENCLAW_GATEWAY_TOKEN or its config"
    )
    screen.add_argument("--readonly", action="store_true", default=unless_given, help="no key that acts on an agent")
    return parser


def of_verb(verb: str) -> argparse.ArgumentParser:
    """What `clawtop VERB` understands, one of VERBS."""
    if verb == "export":
        from clawtop import export  # noqa: PLC0415

        return export.parser()
    from clawtop import control_cli  # noqa: PLC0415

    about = "list the agents that are paused" if verb == "holds" else f"{verb} agents, and verify it"
    parser = argparse.ArgumentParser(prog=f"clawtop {verb}", description=about)
    parser.add_argument(
        "-s", "--source", action="append", default=[], metavar="URI", help="instead of discovery; repeatable"
    )
    parser.add_argument("--config", metavar="PATH", help="instead of config.toml in the user's config directory")
    parser.add_argument("--token-file", metavar="PATH", help="a gateway's token")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="how long history may be read (30)"
    )
    control_cli.add_arguments(parser, verb)
    return parser
