"""What a person demands of a run, as text: `p(95)<200ms`, `failures<1%`, `p(99){GET /node}<1s over 30s abort`.

    THRESHOLD   [METRIC[{TAGS}]:] WHAT [{NAME}] OP LIMIT [over TIME] [abort [after TIME]]
    WHAT        p(N), avg, min, max, med; count, rate, failures; bytes_in, bytes_out
    NAME        a request `GET /node`, a task `Visitor browse`, either without its first word; `*` stands for anything
    OP          <  <=  >  >=  ==  !=
    LIMIT       a time (200ms, 1.5s; a bare number is milliseconds, as in k6), a share (1%, or 0.01 of k6's failures),
                a number (of failures or counts), a rate (500/s, 30/m), a size (10MiB, or 1MiB/s), or +10% of baseline

k6's metrics are taken: http_req_duration, http_req_waiting, http_req_failed, http_reqs, iterations, data_received,
data_sent. What a load test counts itself is checks, counts and gauges. Nothing is measured here; judge.py does.
"""

from __future__ import annotations

import enum
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from gaggle import units

EXAMPLE = 'such as "p(95)<200ms", "failures<1%" or "p(99){GET /node}<1s"'


class Unit(enum.Enum):
    """In what a value is: microseconds, a share of 1, a number, a number a second, bytes, bytes a second."""

    TIME = enum.auto()
    SHARE = enum.auto()
    COUNT = enum.auto()
    RATE = enum.auto()
    BYTES = enum.auto()
    BYTE_RATE = enum.auto()


class Of(enum.Enum):
    """What is measured."""

    TIMES = "the response times"
    FIRST_BYTE = "the times to the first byte"
    COUNT = "how many ended"
    FAILURES = "how many failed"
    PASSES = "how many passes users made"
    BYTES_IN = "bytes received"
    BYTES_OUT = "bytes sent"
    CHECKS = "how many checks passed"
    COUNTS = "what the load test counts"
    GAUGES = "the values of the load test's gauges"


OPS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}

STATISTICS = {"avg": "mean", "mean": "mean", "min": "min", "max": "max", "med": "p50", "median": "p50"}

# What stands before the operator, of its own: what is measured, and in which units a limit may be.
WORDS: dict[str, tuple[Of, tuple[Unit, ...]]] = {
    "count": (Of.COUNT, (Unit.COUNT,)),
    "rate": (Of.COUNT, (Unit.RATE,)),
    "failures": (Of.FAILURES, (Unit.SHARE, Unit.RATE, Unit.COUNT)),
    "bytes_in": (Of.BYTES_IN, (Unit.BYTE_RATE, Unit.BYTES)),
    "bytes_out": (Of.BYTES_OUT, (Unit.BYTE_RATE, Unit.BYTES)),
}

# k6's metrics, and the load test's own: what is measured, and which words there are, with their unit. None: statistics
# of times.
METRICS: dict[str, tuple[Of, dict[str, Unit] | None]] = {
    "http_req_duration": (Of.TIMES, None),
    "http_req_waiting": (Of.FIRST_BYTE, None),
    "http_req_failed": (Of.FAILURES, {"rate": Unit.SHARE}),
    "http_reqs": (Of.COUNT, {"count": Unit.COUNT, "rate": Unit.RATE}),
    "iterations": (Of.PASSES, {"count": Unit.COUNT, "rate": Unit.RATE}),
    "data_received": (Of.BYTES_IN, {"count": Unit.BYTES, "rate": Unit.BYTE_RATE}),
    "data_sent": (Of.BYTES_OUT, {"count": Unit.BYTES, "rate": Unit.BYTE_RATE}),
    "checks": (Of.CHECKS, {"rate": Unit.SHARE}),
    "counts": (Of.COUNTS, {"sum": Unit.COUNT, "rate": Unit.RATE}),
    "gauges": (Of.GAUGES, dict.fromkeys(("avg", "min", "max", "last"), Unit.COUNT)),
}

_METRIC = re.compile(r"\s*([a-z_]+)\s*(?:\{([^{}]*)\})?\s*:(?!//)\s*(.*)", re.DOTALL)
# A name may have braces of its own: it ends at the last one that an operator follows.
_EXPRESSION = re.compile(
    r"\s*(?P<what>p\(\s*[^)]*\)|[a-z_]+)\s*(?:\{(?P<name>.*)\})?\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<limit>.*?)"
    r"(?:\s+over\s+(?P<window>\S+))?(?P<abort>\s+abort(?:\s+after\s+(?P<delay>\S+))?)?\s*",
    re.DOTALL,
)
_PERCENTILE = re.compile(r"p\(\s*(\d+(?:\.\d+)?)\s*\)")
_OF_BASELINE = re.compile(r"([+-])\s*(\S+)%\s+of\s+baseline")
_PER = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0}


@dataclass(frozen=True, slots=True)
class Threshold:
    """One demand. Times are microseconds, shares parts of 1, rates a second; `window` and `delay` seconds, 0 is none.

    `statistic` is `p95`, `mean`, `min`, `max` of times, `avg`, `min`, `max`, `last` of gauges, or "". `name` is what to
    look at, "" all of the kind. `relative`: the limit is this share above (or below) what the baseline has, and `limit`
    means nothing.
    """

    text: str
    of: Of
    unit: Unit
    op: str
    limit: float
    statistic: str = ""
    name: str = ""
    window: float = 0.0
    abort: bool = False
    delay: float = 0.0
    relative: float | None = None

    def holds(self, value: float, baseline: float = 0.0) -> bool:
        """Whether a value is as demanded; `baseline` is the same value of an earlier run."""
        limit = self.limit if self.relative is None else baseline * (1 + self.relative)
        return OPS[self.op](value, limit)

    @property
    def percentile(self) -> float:
        """The share that a percentile is about, such as 0.95."""
        return float(self.statistic[1:]) / 100


def parse(text: str) -> Threshold:
    """Return the threshold that `text` demands. Raises ValueError with a reason that can follow an option's name."""
    found = _METRIC.fullmatch(text)
    metric, tags, rest = found.groups() if found else ("", None, text)
    if metric and metric not in METRICS:
        raise ValueError(f"has no metric {metric!r}: there are {units.listed(tuple(METRICS))}")
    parts = _EXPRESSION.fullmatch(rest)
    if parts is None:
        raise ValueError(f"must be what, how and how much, {EXAMPLE}")
    what = parts["what"]
    of, allowed, statistic = _of_metric(metric, what) if metric else _of_word(what)
    relative = _relative(parts["limit"])
    unit, limit = (allowed[0], 0.0) if relative is not None else _limit(parts["limit"], allowed, metric != "")
    return Threshold(
        text=text.strip(),
        of=of,
        unit=unit,
        op=parts["op"],
        limit=limit,
        statistic=statistic,
        name=_name(tags, parts["name"]),
        window=_time(parts["window"], "over"),
        abort=bool(parts["abort"]),
        delay=_time(parts["delay"], "abort after"),
        relative=relative,
    )


def _of_word(what: str) -> tuple[Of, tuple[Unit, ...], str]:
    if what in WORDS:
        return *WORDS[what], ""
    return Of.TIMES, (Unit.TIME,), _statistic(what, tuple(WORDS))


def _of_metric(metric: str, what: str) -> tuple[Of, tuple[Unit, ...], str]:
    of, words = METRICS[metric]
    if words is None:
        return of, (Unit.TIME,), _statistic(what, ())
    if what not in words:
        raise ValueError(f"says {what!r} of {metric}, which has {units.listed(tuple(words))}")
    return of, (words[what],), what if of is Of.GAUGES else ""


def _statistic(what: str, others: tuple[str, ...]) -> str:
    """Return `p95`, `mean`, ... Raises ValueError for a word that means nothing."""
    if what in STATISTICS:
        return STATISTICS[what]
    if what.startswith("p("):
        found = _PERCENTILE.fullmatch(what)
        share = float(found[1]) if found else 0.0
        if not 0 < share <= 100:
            raise ValueError(f"has {what!r}: a percentile is above 0 and at most 100, as p(99.9)")
        return f"p{share:g}" if float(f"{share:g}") == share else f"p{share}"
    known = ("p(N)", *(word for word in STATISTICS if word not in ("mean", "median")), *others)
    raise ValueError(f"begins with {what!r}: it must be {units.listed(known)}")


def _name(tags: str | None, name: str | None) -> str:
    """Return what to look at. k6's tags `name` and `method` are the two parts of a request's name here."""
    if tags is None or name is not None:
        return (name or "").strip()
    pairs = [tag.partition(":") for tag in tags.split(",") if tag.strip()]
    found = {key.strip(): value.strip() for key, _, value in pairs}
    if strange := [key for key in found if key not in ("name", "method")]:
        raise ValueError(f"has the tag {strange[0]!r}: there are name and method")
    return f"{found.get('method', '*')} {found.get('name', '*')}" if "method" in found else found.get("name", "")


def _relative(text: str) -> float | None:
    found = _OF_BASELINE.fullmatch(text)
    if found is None:
        return None
    try:
        share = units.decimal(found[2]) / 100
    except ValueError:
        raise ValueError(f"has the limit {text!r}: it must be such as +10% of baseline") from None
    return -share if found[1] == "-" else share


def _time(text: str | None, word: str) -> float:
    if text is None:
        return 0.0
    try:
        return units.above_zero(units.seconds)(text)
    except ValueError as error:
        raise ValueError(f"says {word} {text!r}, which {error}") from None


# Limits: a parser a unit, and what it takes, for the error.


def _as_time(text: str) -> float:
    """Return microseconds; a bare number is milliseconds, as in k6."""
    try:
        return units.decimal(text) * 1_000
    except ValueError:
        return units.seconds(text) * 1_000_000


def _as_share(text: str) -> float:
    if not text.endswith("%"):
        raise ValueError
    return units.decimal(text[:-1].strip()) / 100


def _as_part(text: str) -> float:
    """Return a share as k6 writes it, 0.01, or with a percent sign."""
    return _as_share(text) if text.endswith("%") else units.decimal(text)


def _as_rate(text: str) -> float:
    number, slash, per = text.partition("/")
    if not slash or per.strip() not in _PER:
        raise ValueError
    return units.decimal(number.strip()) / _PER[per.strip()]


def _as_bare_rate(text: str) -> float:
    return _as_rate(text) if "/" in text else units.decimal(text)


def _as_byte_rate(text: str) -> float:
    number, slash, per = text.partition("/")
    if not slash or per.strip() not in _PER:
        raise ValueError
    return units.size(number.strip()) / _PER[per.strip()]


def _as_bare_byte_rate(text: str) -> float:
    return _as_byte_rate(text) if "/" in text else float(units.size(text))


LIMITS: dict[Unit, tuple[Callable[[str], float], str]] = {
    Unit.TIME: (_as_time, "a time such as 200ms or 1.5s"),
    Unit.SHARE: (_as_share, "a share such as 1%"),
    Unit.COUNT: (units.decimal, "a number such as 10"),
    Unit.RATE: (_as_rate, "a rate such as 500/s"),
    Unit.BYTES: (lambda text: float(units.size(text)), "a size such as 10MiB"),
    Unit.BYTE_RATE: (_as_byte_rate, "a rate such as 1MiB/s"),
}
# Where a metric of k6 says what it is, the unit may be left out.
K6_LIMITS = LIMITS | {
    Unit.SHARE: (_as_part, "a share such as 0.01 or 1%"),
    Unit.RATE: (_as_bare_rate, "a rate such as 500 or 500/s"),
    Unit.BYTE_RATE: (_as_bare_byte_rate, "a rate such as 1MiB/s"),
}


def _limit(text: str, allowed: tuple[Unit, ...], is_k6: bool) -> tuple[Unit, float]:
    """Return the first unit that `text` can be in, and its value."""
    limits = K6_LIMITS if is_k6 else LIMITS
    bare = {Unit.RATE: _as_bare_rate} if allowed == (Unit.RATE,) else {}  # `rate>500` can mean one thing only
    for unit in allowed:
        try:
            return unit, bare.get(unit, limits[unit][0])(text)
        except ValueError:
            continue
    wanted = units.listed(tuple(limits[unit][1] for unit in allowed))
    raise ValueError(f"has the limit {text!r}: it must be {wanted}")


def checked(text: str) -> str:
    """Return `text` if it is a threshold. Raises ValueError as `parse`."""
    return parse(text).text


def written(unit: Unit, value: float) -> str:
    """Return a value for people: `340 ms`, `1.2%`, `512.00/s`, `3 MiB`."""
    match unit:
        case Unit.TIME:
            return f"{units.milliseconds(value)} ms"
        case Unit.SHARE:
            return units.percent(value, 1)
        case Unit.COUNT:
            return units.significant(value) if value % 1 else units.thousands(int(value))
        case Unit.RATE:
            return f"{units.rate(value)}/s"
        case Unit.BYTES:
            return units.byte_count(value)
        case Unit.BYTE_RATE:
            return f"{units.byte_count(value)}/s"
