#!/usr/bin/env python3
"""What the request log costs: requests a second of one engine with and without it, in turns, as nginx counts them."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from dataclasses import replace

import clients
import trial
from clients import WORKLOADS, Client, Job
from measure import Stand, Unmeasured, measure, set_up, wait_for_quiet
from verdict import Key, Measure, Results, cost, per_engine_second, rate

MOST = 0.25  # of the throughput: what the request log in JSON may cost at 64 users
FORMATS = ("json", "csv")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--window", type=float, default=1.5, metavar="S", help="seconds that are measured (1.5)")
    parser.add_argument("--settle", type=float, default=0.4, metavar="S", help="seconds before them (0.4)")
    parser.add_argument("--patience", type=float, default=0.0, metavar="S", help="longest wait for a quiet machine (0)")
    parser.add_argument("--no-file", action="store_true", help="write nothing into bench/results")
    return parser.parse_args()


def logging(plain: Client, format: str | None) -> Client:
    """Return the client `plain` that writes a request log of this format; None: none."""

    def command(job: Job) -> list[str]:
        log = [] if format is None else ["--request-log", str(job.folder / "requests"), "--request-format", format]
        return [*plain.command(job), *log]

    return replace(plain, name=format or "none", command=command)


def main() -> None:
    options = arguments()
    found = [logging(clients.gaggle("fast", "fast"), format) for format in (None, *FORMATS)]
    results, cores = Results(), trial.cores()
    with set_up(options, cores) as ready:
        for number in range(options.rounds):
            for client in found:
                wait_for_quiet(options.patience)
                take(options, ready, results, number, client, cores[1])
    text = trial.headline("logs") + table(options, results)
    print(text, end="")
    if not options.no_file:
        trial.keep("logs", text)
    sys.exit(0 if is_met(options, results) else 1)


def take(
    options: argparse.Namespace,
    ready: Stand,
    results: Results,
    number: int,
    client: Client,
    core: int,
) -> None:
    job = Job(WORKLOADS[0], options.users, ready.server.url, ready.server.ca_file)
    try:
        sample = measure(ready, client, job, str(core))
    except (Unmeasured, subprocess.SubprocessError) as error:
        print(f"round {number + 1}  {client.name}  not measured: {error}", file=sys.stderr)
        return
    results.add(key_of(options, client.name), number, sample)
    print(f"round {number + 1}  {client.name:6}{sample.rate:10,.0f} req/s", file=sys.stderr, flush=True)


def key_of(options: argparse.Namespace, name: str) -> Key:
    return Key(WORKLOADS[0].name, options.users, name)


def lost(options: argparse.Namespace, results: Results, name: str, measure: Measure) -> float:
    """Return the share of the throughput that a log costs: the median of the rounds, each with its own neighbour."""
    return 1 - statistics.median(results.ratios(key_of(options, name), key_of(options, "none"), measure))


def is_met(options: argparse.Namespace, results: Results) -> bool:
    return min(lost(options, results, "json", measure) for measure in (rate, per_engine_second)) <= MOST


def table(options: argparse.Namespace, results: Results) -> str:
    lines = [
        f"`return 200`, {options.users} users, one engine; medians of {options.rounds} rounds, in turns",
        "us/req is CPU time of all processes; others is the share of a core that the rest of the machine used",
        "",
        f"{'request log':12}{'req/s':>10}{'us/req':>8}{'others':>8}{'cost':>8}{'by CPU':>8}",
    ]
    for name in ("none", *FORMATS):
        key = key_of(options, name)
        others = results.median(key, lambda each: each.others / each.seconds)
        row = f"{name:12}{results.median(key, rate):10,.0f}{results.median(key, cost):8.1f}{others:8.0%}"
        shares = () if name == "none" else (lost(options, results, name, each) for each in (rate, per_engine_second))
        lines.append(row + "".join(f"{share:8.1%}" for share in shares))
    verdict = "met" if is_met(options, results) else "missed"
    lines += ["", f"json costs at most {MOST:.0%} of the throughput: {verdict}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
