"""All samples of a bench, the table of a workload, and the targets: met or missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from clients import WORKLOADS, Workload
from measure import Sample

Measure = Callable[[Sample], float]


class Key(NamedTuple):
    """What was measured: a client at a workload with so many users."""

    workload: str
    users: int
    client: str


@dataclass
class Results:
    """Samples by key and round. A ratio is taken within a round, between neighbours: noise of the machine cancels."""

    samples: dict[Key, dict[int, Sample]] = field(default_factory=dict)

    def add(self, key: Key, round_number: int, sample: Sample) -> None:
        self.samples.setdefault(key, {})[round_number] = sample

    def median(self, key: Key, measure: Measure) -> float:
        return median(map(measure, self.samples[key].values()))

    def ratios(self, key: Key, base: Key, measure: Measure) -> list[float]:
        """Return the ratio of each round that has both, in order of size; empty when none has."""
        ours, theirs = self.samples.get(key, {}), self.samples.get(base, {})
        return sorted(measure(ours[each]) / measure(theirs[each]) for each in ours.keys() & theirs.keys())


def rate(sample: Sample) -> float:
    return sample.rate


def cost(sample: Sample) -> float:
    return sample.cost_us


def per_cost(sample: Sample) -> float:
    """Requests per CPU second of the client: what `rate` would be had it a whole core, and a server that keeps up."""
    return 1e6 / sample.cost_us


def per_engine_second(sample: Sample) -> float:
    return sample.per_engine_second


MOST_OTHERS = 0.2  # of a core: beyond it the ratios by CPU time still mean something, those of req/s little
COLUMNS = (
    *(" users", "client     ", "    req/s", "us/req", "  user", "   sys", "busy", "nginx", "others"),
    *("   p50 ms", "   p99 ms", "/wrk", "/locust", "/libcurl"),
)


def table(results: Results, workload: Workload) -> str:
    """Return the medians of a workload, a line a client and number of users; "" when nothing was measured."""
    keys = sorted((key for key in results.samples if key.workload == workload.name), key=lambda key: key.users)
    lines = ["  ".join(COLUMNS), *("  ".join(row(results, key)) for key in keys)]
    return f"{workload.title}\n\n" + "\n".join(lines) + "\n" if keys else ""


def row(results: Results, key: Key) -> Iterable[str]:
    numbers = (
        f"{key.users:,}",
        key.client,
        f"{results.median(key, rate):,.0f}",
        f"{results.median(key, cost):.1f}",
        f"{results.median(key, lambda sample: sample.client.user / sample.requests * 1e6):.1f}",
        f"{results.median(key, lambda sample: sample.client.system / sample.requests * 1e6):.1f}",
        *(share(results, key, part) for part in (lambda s: s.client.total, lambda s: s.server, lambda s: s.others)),
        *(latency(results, key, place) for place in (0, 1)),
        *(against(results, key, base) for base in ("wrk", "locust", "libcurl")),
    )
    for title, number in zip(COLUMNS, numbers, strict=True):
        yield number.ljust(len(title)) if title.startswith("client") else number.rjust(len(title))


def share(results: Results, key: Key, part: Measure) -> str:
    """Return what of one core a part has used."""
    return f"{results.median(key, lambda sample: part(sample) / sample.seconds):.0%}"


def latency(results: Results, key: Key, place: int) -> str:
    found = [sample.said[place] for sample in results.samples[key].values()]
    known = [number for number in found if number is not None]
    return f"{median(known):.2f}" if known else "-"


def against(results: Results, key: Key, client: str) -> str:
    found = results.ratios(key, key._replace(client=client), rate)
    return f"{median(found):.2f}" if found and client != key.client else ""


class Target(NamedTuple):
    """A ratio, in each round of `key` to `base`, and what it must come to."""

    text: str
    key: Key
    base: Key
    measure: Measure
    limit: float
    is_least: bool = True

    def verdict(self, results: Results) -> str:
        """Return a line: met or missed, by the median; with the range over the rounds, and the ratio by CPU time."""
        found = results.ratios(self.key, self.base, self.measure)
        if not found:
            return f"unknown  {self.text}"
        middle = median(found)
        is_met = middle >= self.limit if self.is_least else middle <= self.limit
        beside = ""
        if self.measure is rate:
            beside = f"; by CPU time {median(results.ratios(self.key, self.base, per_cost)):.2f}"
        found_text = f"{middle:.2f} ({found[0]:.2f} - {found[-1]:.2f}{beside})"
        return f"{'met' if is_met else 'MISSED':7}  {self.text}: {found_text}"


def targets() -> list[Target]:
    """Return every target, in the order of the report."""
    few = ("status", 64), ("status", 1_000)
    fast_ones = *few, ("text", 64), ("text", 1_000), ("https", 64), ("https", 1_000)
    return [
        *(at_least("fast", 0.6, "wrk", *where) for where in fast_ones),
        *(at_least("fast", 1.7, "libcurl", *where) for where in few),
        *(at_least("libcurl", 0.3, "wrk", *where) for where in few),
        *(at_least("libcurl", 5, "locust", *where) for where in few),
        *(many_cost_little(lane) for lane in ("fast", "libcurl")),
        *(two_engines(*where) for where in few),
    ]


def at_least(client: str, limit: float, base: str, workload: str, users: int) -> Target:
    text = f"{client} lane at least {limit:g} x {base}, {workload}, {users:,} users"
    return Target(text, Key(workload, users, client), Key(workload, users, base), rate, limit)


def many_cost_little(lane: str) -> Target:
    text = f"{lane} lane: a request at 4,000 users costs at most 1.5 x one at 64"
    return Target(text, Key("status", 4_000, lane), Key("status", 64, lane), cost, 1.5, is_least=False)


def two_engines(workload: str, users: int) -> Target:
    text = f"two engines: requests per CPU second of their own at least 0.9 x one engine's, {workload}, {users:,} users"
    return Target(text, Key(workload, users, "fast, two"), Key(workload, users, "fast"), per_engine_second, 0.9)


def report(results: Results) -> str:
    """Return tables and targets as text."""
    parts = [table(results, workload) for workload in WORKLOADS]
    judged = [f"  {target.verdict(results)}" for target in targets() if target.key in results.samples]
    parts.append("\n".join(["Targets (medians of the ratios within a round; lowest - highest)", "", *judged]) + "\n")
    if doubted := doubts(results):
        parts.append("\n".join(["Not to be trusted:", *(f"  {line}" for line in doubted)]) + "\n")
    return "\n".join(part for part in parts if part)


def doubts(results: Results) -> list[str]:
    """Return why the figures should not be believed, a line each."""
    found = []
    for key, samples in results.samples.items():
        if errors := sum(sample.said.errors for sample in samples.values()):
            found.append(f"{errors:,} failed requests: {key.client}, {key.workload}, {key.users:,} users")
    shares = [sample.others / sample.seconds for samples in results.samples.values() for sample in samples.values()]
    if shares and median(shares) > MOST_OTHERS:
        found.append(f"others used {median(shares):.0%} of a core meanwhile")
    return found
