"""The made-up fleet of the demo: models with their list prices, and the roles of its agents."""

from dataclasses import dataclass

from clawtop.model.events import Price


@dataclass(frozen=True, slots=True)
class Model:
    """A model; `price` is None where nobody knows one. With `writes_cache` what is new in a prompt is a cache write."""

    provider: str
    name: str
    window: int
    price: Price | None
    writes_cache: bool = False


def _dollars(fresh: float, output: float, cached: float, write: float = 0.0) -> Price:
    return Price(round(fresh * 1e6), round(output * 1e6), round(cached * 1e6), round(write * 1e6))


OPUS = Model("anthropic", "claude-opus-4-5", 200_000, _dollars(5, 25, 0.5, 6.25), writes_cache=True)
SONNET = Model("anthropic", "claude-sonnet-4-5", 200_000, _dollars(3, 15, 0.3, 3.75), writes_cache=True)
HAIKU = Model("anthropic", "claude-haiku-4-5", 200_000, _dollars(1, 5, 0.1, 1.25), writes_cache=True)
GPT = Model("openai", "gpt-5", 400_000, _dollars(1.25, 10, 0.125))
GPT_MINI = Model("openai", "gpt-5-mini", 400_000, _dollars(0.25, 2, 0.025))
GEMINI = Model("google", "gemini-2.5-pro", 1_048_576, _dollars(1.25, 10, 0.125))
FLASH = Model("google", "gemini-2.5-flash", 1_048_576, _dollars(0.3, 2.5, 0.03))
ATLAS = Model("house", "atlas-32b", 131_072, None)

MODELS = (OPUS, SONNET, HAIKU, GPT, GPT_MINI, GEMINI, FLASH, ATLAS)


@dataclass(frozen=True, slots=True)
class Pace:
    """How an agent works: mean seconds between two runs, mean calls of a run, the tokens a session begins with, the
    mean tokens that a call adds and answers, and its mean latency in milliseconds."""

    pause: float
    calls: int
    prompt: int
    growth: int
    output: int
    latency: int


@dataclass(frozen=True, slots=True)
class Role:
    """What one agent does all day, for whom.

    The first of its users owns it. `failing` is the share of attempts that fail, `unmetered` that of runs whose
    background review no transcript shows. A role with `budget` (micro-dollars) declares its runs and has them judged.
    """

    name: str
    projects: tuple[str, ...]
    users: tuple[str, ...]
    model: Model
    fallback: Model
    task: str
    tools: tuple[str, ...]
    pace: Pace
    failing: float = 0.01
    environment: str = "production"
    channel: str | None = None
    cron: str | None = None
    spawned_by: str | None = None
    budget: int | None = None
    unmetered: float = 0.0


_CODE = ("bash", "read_file", "edit_file", "grep", "run_tests")
_DATA = ("sql_query", "read_file", "python", "plot")
_DESK = ("search_tickets", "get_customer", "send_reply")
_WEB = ("web_search", "web_fetch", "read_file")
_BOTH = ("checkout-api", "growth-site")

RUNAWAY = Role(
    *("release-bot", ("checkout-api",), ("jonas",), OPUS, SONNET, "cut the release", _CODE),
    Pace(420, 4, 5400, 560, 260, 5000),
    channel="slack",
)
"""The role whose first agent falls into a tool loop."""

ROLES = (
    RUNAWAY,
    Role(
        *("coder", _BOTH, ("maya", "jonas"), SONNET, GPT, "implement a ticket", _CODE),
        Pace(270, 10, 8400, 900, 420, 6500),
        unmetered=0.1,
    ),
    Role(
        *("reviewer", ("checkout-api",), ("maya",), OPUS, SONNET, "review a pull request", _CODE),
        Pace(600, 6, 9200, 1400, 650, 9000),
        budget=2_500_000,
    ),
    Role(
        *("test-writer", ("checkout-api",), ("jonas",), GPT, GPT_MINI, "cover a module", _CODE),
        Pace(320, 8, 6600, 920, 520, 7500),
        spawned_by="coder",
    ),
    Role(
        *("migrator", ("data-platform",), ("priya",), SONNET, OPUS, "migrate tables", _DATA),
        Pace(450, 9, 9600, 1160, 380, 6000),
        environment="staging",
    ),
    Role(
        *("etl-doctor", ("data-platform",), ("priya",), GPT_MINI, GPT, "heal pipelines", _DATA),
        Pace(210, 6, 4200, 740, 300, 3200),
        failing=0.12,
        cron="hourly-pipelines",
    ),
    Role(
        *("analyst", ("data-platform", "growth-site"), ("tomas", "priya"), GEMINI, FLASH, "weekly report", _DATA),
        Pace(400, 7, 13_200, 3220, 700, 8200),
        failing=0.04,
    ),
    Role(
        *("support-triage", ("helpdesk",), ("lena",), HAIKU, GPT_MINI, "triage tickets", _DESK),
        Pace(100, 4, 3300, 440, 160, 1900),
        channel="telegram",
    ),
    Role(
        *("reply-drafter", ("helpdesk",), ("lena",), GPT_MINI, HAIKU, "draft replies", _DESK),
        Pace(130, 3, 3900, 560, 340, 3400),
        failing=0.03,
        spawned_by="support-triage",
    ),
    Role(
        *("kb-gardener", ("helpdesk",), ("jonas",), ATLAS, FLASH, "tend the handbook", _WEB),
        Pace(450, 6, 4800, 920, 450, 4800),
        cron="tend-handbook",
    ),
    Role(
        *("researcher", ("growth-site",), ("tomas", "maya"), OPUS, SONNET, "market research", _WEB),
        Pace(850, 7, 7200, 2100, 520, 8000),
        budget=4_000_000,
    ),
    Role(
        *("copywriter", ("growth-site",), ("lena", "tomas"), GPT, SONNET, "landing pages", _WEB),
        Pace(280, 4, 5400, 680, 900, 9500),
        channel="web",
    ),
)
