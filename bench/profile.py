#!/usr/bin/env python3
"""Where the time of a request goes: one engine's loop in this process, under perf or callgrind, against nginx.

Without a tool it says what a request costs. The engine is the real one, without supervisor and launcher around it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nginx
from clients import LOADTESTS, WORKLOADS

CALLGRIND_LINE = r"^\s*([\d,]+) +\([ \d.]+%\) +\S*:(\S+)(?: \[(?:.*/)?(.+)\])?$"  # count, file:function [library]


class Cost(NamedTuple):
    """What of a request is spent in one function itself, in ns or instructions."""

    each: float
    function: str
    where: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tool", choices=("none", "perf", "callgrind"), default="none")
    parser.add_argument("--lane", choices=("fast", "libcurl"), default="fast")
    parser.add_argument("--users", type=int, default=64, metavar="N")
    parser.add_argument("--workload", choices=[each.name for each in WORKLOADS], default="status")
    parser.add_argument("--requests", type=int, metavar="N", help="how many it makes (200,000; under callgrind 20,000)")
    parser.add_argument("--top", type=int, default=40, metavar="N", help="lines to print (40)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the tool's data here")
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # we are the process under the tool; the rest as JSON
    return parser.parse_args()


# Outside: the server, the tool, and what it found.


def outside(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    workload = next(each for each in WORKLOADS if each.name == options.workload)
    with tempfile.TemporaryDirectory(prefix="gaggle-profile-") as folder:
        server = nginx.Nginx(Path(folder), cores[0])
        data = (options.keep or Path(folder)) / f"{options.tool}.data"
        order = {
            "load_test": str(LOADTESTS / workload.load_test),
            "url": server.https_url if workload.secure else server.url,
            "cacert": str(server.ca_file),
            "lane": options.lane,
            "users": options.users,
            "requests": options.requests or (20_000 if options.tool == "callgrind" else 200_000),
        }
        command = ["taskset", "-c", str(cores[-1]), *TOOLS[options.tool](data)]
        command += [sys.executable, __file__, "--inside", json.dumps(order)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=True)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{error}\n{error.stderr}")
        finally:
            server.stop()
        said = json.loads(run.stdout.splitlines()[-1])
        show(options, said, data)


def perf_command(data: Path) -> list[str]:
    return f"perf record --quiet --event cpu-clock --freq 4000 --call-graph fp --output {data}".split()


def callgrind_command(data: Path) -> list[str]:
    """Collect inside of the pump's select() only: nearly all of a request runs there, users' tasks included."""
    toggle = "--toggle-collect=__pyx_pw_6gaggle_5_core_4Pump_*select"
    return ["valgrind", "--tool=callgrind", "--quiet", toggle, f"--callgrind-out-file={data}"]


TOOLS = {"none": lambda data: [], "perf": perf_command, "callgrind": callgrind_command}


def show(options: argparse.Namespace, said: dict[str, float], data: Path) -> None:
    requests, cpu_us = said["requests"], (said["user"] + said["system"]) / said["requests"] * 1e6
    print(f"{options.workload}, {options.users:,} users, {options.lane} lane: {requests:,.0f} requests")
    if options.tool == "perf":
        costs, unit = perf_costs(data, said["process"] / requests * 1e9), "ns"
    elif options.tool == "callgrind":
        costs, unit = callgrind_costs(data, requests), "instructions"
    if options.tool != "callgrind":
        system = said["system"] / requests * 1e6
        rate = requests / said["seconds"]
        print(f"{rate:,.0f} req/s; {cpu_us:.2f} us of CPU a request, {system:.2f} of them in the kernel")
    if options.tool != "none":
        print(f"\n{sum(cost.each for cost in costs):,.0f} {unit} a request; by function, without what it calls:\n")
        for cost in costs[: options.top]:
            print(f"{cost.each:10,.0f}  {cost.function}  ({cost.where})")


def perf_costs(data: Path, total_ns: float) -> list[Cost]:
    """Return what perf saw, most expensive first; `total_ns` is the CPU time of the process, a request."""
    command = (
        f"perf report --input {data} --no-children --call-graph none --stdio --field-separator | --sort symbol,dso"
    )
    text = subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout
    rows = [line.split("|") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    share_ns = total_ns / 100
    return [Cost(float(share.strip(" %")) * share_ns, symbol.strip(), dso.strip()) for share, symbol, dso, *_ in rows]


def callgrind_costs(data: Path, requests: float) -> list[Cost]:
    """Return what callgrind saw. A function counts once, whatever files its code was inlined from."""
    command = ["callgrind_annotate", "--threshold=99.9", str(data)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, int] = {}
    places: dict[str, str] = {}
    for count, function, where in re.findall(CALLGRIND_LINE, text, re.M):
        name = function.partition("'")[0]  # 'N: of a recursion
        found[name] = found.get(name, 0) + int(count.replace(",", ""))
        places[name] = places.get(name) or where
    return sorted((Cost(count / requests, name, places[name]) for name, count in found.items()), reverse=True)


# Inside: one engine.


def inside(order: dict[str, object]) -> None:
    """Run an engine in this process and print, as JSON, what it did and what that cost."""
    from gaggle import loadtest
    from gaggle._core import Arena
    from gaggle.channel import Channel
    from gaggle.engine import Engine, Order
    from gaggle.metrics import Snapshot

    arena, (ours, theirs) = Arena.create(), Channel.pair()
    users, wanted = int(str(order["users"])), int(str(order["requests"]))
    settings = {"base": order["url"], "cacert": order["cacert"], "lane": order["lane"]}
    engine = Engine(
        arena,
        theirs,
        loadtest.load(str(order["load_test"])),
        Order(index=0, engines=1, users=users, hatch_rate=1e6, seed=1, stop_timeout=30.0, settings=settings),
    )

    def answered() -> int:
        return sum(row.count for row in Snapshot.read(arena).requests())

    def look() -> None:
        if answered() >= wanted:
            ours.send("stop")
        else:
            engine.loop.call_later(0.05, look)

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    ours.send("start", t0_ns=time.monotonic_ns())
    engine.loop.call_soon(look)
    engine.run()
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    found = {"requests": answered(), "seconds": ended - began}
    found |= {"user": after.ru_utime - before.ru_utime, "system": after.ru_stime - before.ru_stime}
    found |= {"process": after.ru_utime + after.ru_stime}  # with its start: that is what a tool sees
    print(json.dumps(found), flush=True)


def main() -> None:
    options = arguments()
    if options.inside:
        inside(json.loads(options.inside))
    else:
        outside(options)


if __name__ == "__main__":
    main()
