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
from measure import Sample, Stand, Unmeasured, measure, stand, wait_for_quiet

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
    samples: dict[str, dict[int, Sample]] = {client.name: {} for client in found}
    server_core, core = trial.cores()
    with stand(options, server_core, [server_core, core]) as ready:
        for number in range(options.rounds):
            for client in found:
                wait_for_quiet(options.patience)
                take(options, ready, samples, number, client, core)
    text = trial.headline("logs") + table(options, samples)
    print(text, end="")
    if not options.no_file:
        trial.keep("logs", text)
    sys.exit(0 if is_met(samples) else 1)


def take(
    options: argparse.Namespace,
    ready: Stand,
    samples: dict[str, dict[int, Sample]],
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
    samples[client.name][number] = sample
    print(f"round {number + 1}  {client.name:6}{sample.rate:10,.0f} req/s", file=sys.stderr, flush=True)


def cost(samples: dict[str, dict[int, Sample]], name: str, by_cpu: bool) -> float:
    """Return the share of the throughput that a log costs: the median of the rounds, each with its own neighbour."""
    both = samples["none"].keys() & samples[name].keys()
    pairs = [(samples["none"][each], samples[name][each]) for each in both]
    if by_cpu:
        return statistics.median(1 - log.per_engine_second / none.per_engine_second for none, log in pairs)
    return statistics.median(1 - log.rate / none.rate for none, log in pairs)


def is_met(samples: dict[str, dict[int, Sample]]) -> bool:
    return cost(samples, "json", by_cpu=False) <= MOST or cost(samples, "json", by_cpu=True) <= MOST


def table(options: argparse.Namespace, samples: dict[str, dict[int, Sample]]) -> str:
    lines = [
        f"`return 200`, {options.users} users, one engine; medians of {options.rounds} rounds, in turns",
        "us/req is CPU time of all processes; others is the share of a core that the rest of the machine used",
        "",
        f"{'request log':12}{'req/s':>10}{'us/req':>8}{'others':>8}{'cost':>8}{'by CPU':>8}",
    ]
    for name, by_round in samples.items():
        of = by_round.values()
        rate, us = (statistics.median(getattr(each, what) for each in of) for what in ("rate", "cost_us"))
        others = statistics.median(each.others / each.seconds for each in of)
        row = f"{name:12}{rate:10,.0f}{us:8.1f}{others:8.0%}"
        lines.append(
            row + ("" if name == "none" else f"{cost(samples, name, False):8.1%}{cost(samples, name, True):8.1%}")
        )
    verdict = "met" if is_met(samples) else "missed"
    lines += ["", f"json costs at most {MOST:.0%} of the throughput: {verdict}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
