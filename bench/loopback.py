#!/usr/bin/env python3
"""`make bench`: nginx on one core, a load tester on the other: gaggle's lanes, wrk, Locust, in interleaved rounds.

What is counted is what nginx counted, and what the kernel says of CPU time; the clients say only their latencies.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import clients
import cpu
import nginx
import verdict
from awake import may_keep_awake
from clients import WORKLOADS, Client, Job
from measure import Stand, Unmeasured, measure, set_up, wait_for_quiet
from pauses import may_watch

RESULTS = Path(__file__).parent / "results"
USERS = (64, 1_000, 4_000)
# Locust takes long to start, and its figure differs little from one workload to the next.
LOCUST_AT = {("status", 64), ("status", 1_000), ("text", 64), ("post", 64), ("https", 64)}
TWO_ENGINES_AT = {("status", 64), ("status", 1_000)}
QUICK = {("status", 64), ("status", 1_000), ("status", 4_000), ("text", 64), ("post", 64), ("https", 64)}
QUICK_LOCUST = {("status", 64)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round of the decisive cells, about 90 s")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 3, with --quick 1")
    parser.add_argument("--users", type=numbers, default=USERS, metavar="N,N", help="default: 64,1000,4000")
    parser.add_argument("--workloads", type=words, metavar="NAME,NAME", help="of status, text, post, https")
    parser.add_argument("--clients", type=words, metavar="NAME,NAME", help="of fast, libcurl, wrk, locust, two")
    parser.add_argument("--window", type=float, default=1.5, metavar="S", help="seconds that are measured (1.5)")
    parser.add_argument("--settle", type=float, default=0.4, metavar="S", help="seconds before them (0.4)")
    patience = "longest wait before each measurement for others to leave the machine alone (0)"
    parser.add_argument("--patience", type=float, default=0.0, metavar="S", help=patience)
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part.replace("_", "")) for part in text.split(","))


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def found_clients(wanted: tuple[str, ...]) -> list[Client]:
    """Return the clients that are wanted and there, in the order in which they take turns."""
    makers = {
        "wrk": clients.wrk,
        "fast": lambda: clients.gaggle("fast", "fast"),
        "libcurl": lambda: clients.gaggle("libcurl", "libcurl"),
        "two": lambda: clients.gaggle("fast, two", "fast", engines=2),
        "locust": clients.locust,
    }
    return [client for name, make in makers.items() if name in wanted and (client := make())]


def cells(options: argparse.Namespace, found: list[Client]) -> Iterator[tuple[clients.Workload, int, Client]]:
    """Yield what a round measures, in order: the clients of a cell are neighbours in time."""
    for workload in WORKLOADS:
        for users in options.users:
            where = workload.name, users
            if (options.workloads and workload.name not in options.workloads) or (options.quick and where not in QUICK):
                continue
            for client in found:
                if client.name == "locust" and where not in (QUICK_LOCUST if options.quick else LOCUST_AT):
                    continue
                if client.engines == 1 or where in TWO_ENGINES_AT:
                    yield workload, users, client


def run(options: argparse.Namespace, found: list[Client], cores: list[int]) -> verdict.Results:
    """Measure round after round. A measurement that fails is said on stderr and left out."""
    results = verdict.Results()
    with set_up(options, cores[:3]) as ready:
        server = ready.server
        for number in range(options.rounds):
            for workload, users, client in cells(options, found):
                job = Job(workload, users, server.https_url if workload.secure else server.url, server.ca_file)
                wait_for_quiet(options.patience)
                take(ready, results, number, client, job, cores)
    return results


def take(ready: Stand, results: verdict.Results, number: int, client: Client, job: Job, cores: list[int]) -> None:
    theirs = ",".join(map(str, cores[1 : 1 + client.engines]))
    what = f"round {number + 1}  {job.workload.name:7}{job.users:6,}  {client.name:10}"
    try:
        sample = measure(ready, client, job, theirs)
    except Unmeasured as error:
        print(f"{what}  not measured: {error}", file=sys.stderr, flush=True)
        return
    results.add(verdict.Key(job.workload.name, job.users, client.name), number, sample)
    print(f"{what}{sample.rate:10,.0f} req/s{sample.cost_us:7.1f} us", file=sys.stderr, flush=True)


def how() -> str:
    return "in slices in which no core stood still" if may_watch() else "of which the better half of the slices counts"


def idle_cores() -> str:
    return "idle cores spin" if may_keep_awake() else "idle cores sleep, and whose request wakes one pays for it"


def headline(options: argparse.Namespace, found: list[Client]) -> str:
    """Return date, machine, versions and command."""
    versions = {client.version: None for client in found}
    words = [word for word in sys.argv[1:] if word != "--no-file"]
    return (
        f"date     {datetime.now().astimezone():%Y-%m-%d %H:%M %z}\n"
        f"machine  {cpu.machine()}; one core for nginx, one for the client; {idle_cores()}\n"
        f"with     {'; '.join([nginx.version(), *versions])}; Python {platform.python_version()}\n"
        f"command  {' '.join(['bench/loopback.py', *words])}\n"
        f"rounds   {options.rounds}, interleaved; {options.window:g} s each are measured, {how()}\n\n"
        "Medians. req/s as nginx counted them. us/req is CPU time of all processes of a client, user and system.\n"
        "busy, nginx and others are shares of a core: of the client, the server, and of what is not part of this.\n"
        "/wrk, /locust, /libcurl: ratios of req/s.\n"
    )


def main() -> None:
    options = arguments()
    options.rounds = options.rounds or (1 if options.quick else 3)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("the bench needs two cores: one for nginx, one for the client")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    found = found_clients(options.clients or ("fast", "libcurl", "two", "wrk", "locust"))
    results = run(options, found, cores)
    text = headline(options, found) + "\n" + verdict.report(results)
    print(text, end="")
    if not options.no_file:
        name = f"{datetime.now():%Y-%m-%d-%H%M}-loopback{'-quick' if options.quick else ''}.txt"
        (RESULTS / name).write_text(text)


if __name__ == "__main__":
    main()
