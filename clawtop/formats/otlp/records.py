"""What an OTLP body holds, as small frozen records: whichever encoding it came in, whoever sent it.

Times are Unix nanoseconds as they were sent, 0 where none was; ids are hex.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from itertools import islice

MAX_TEXT = 4096
"""Characters of a text value that are kept."""
MAX_PARTS = 500_000
"""Resources, scopes and items of one body: what is empty takes two bytes of it and hundreds of memory."""
MAX_ATTRIBUTES = 128
"""Attributes of one record that are kept."""
MAX_LIST = 16
"""Texts of a list that are kept."""
MAX_BUCKETS = 1024
"""Buckets of a histogram that are looked at."""
_POINTS_OF_A_PART = 250

Value = str | int | float | bool | tuple[str, ...]
Attributes = Mapping[str, Value]


class Signal(StrEnum):
    """What a body holds, and the last part of the path it is posted to."""

    METRICS = "metrics"
    TRACES = "traces"
    LOGS = "logs"


class Kind(Enum):
    """What a metric is. Summaries are none of these: nobody's usage is told by one."""

    SUM = "sum"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Temporality(Enum):
    """Whether a point counts from the one before it, or from the series' start. The numbers are OTLP's."""

    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True, slots=True)
class Scope:
    """Who sent it: the resource's attributes, and the name of the instrumentation."""

    resource: Attributes
    name: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a series.

    `value` is a number's, or the sum of what a histogram saw (None: not told); `count` is how many that were and
    `buckets` how many of them lay about each value. An exponential histogram has the same.
    """

    attributes: Attributes
    start: int
    time: int
    value: float | None
    count: int = 0
    buckets: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and its points, or some of them. A gauge has no temporality."""

    name: str
    unit: str
    kind: Kind
    temporality: Temporality
    monotonic: bool
    points: tuple[Point, ...] = ()

    def in_parts(self, points: Iterator[Point]) -> Iterator["Metric"]:
        """This metric with so many points at a time as take some milliseconds to read."""
        while part := tuple(islice(points, _POINTS_OF_A_PART)):
            yield replace(self, points=part)


@dataclass(frozen=True, slots=True)
class Span:
    """One finished operation. `parent` is "" where it has none; `message` tells of the error, if any."""

    trace: str
    id: str
    parent: str
    name: str
    start: int
    end: int
    attributes: Attributes
    failed: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """A log record: `name` is its event's. Its words are not kept."""

    time: int
    name: str
    attributes: Attributes
    trace: str = ""
    span: str = ""


Record = Metric | Span | Log
