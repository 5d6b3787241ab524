#!/usr/bin/env python3
"""Where the time of a request goes: one engine's loop under perf or callgrind, against nginx.

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
    parser.add_argument("--request-log", metavar="FILE", help="write one too, in JSON")
    parser.add_argument("--requests", type=int, metavar="N", help="how many it makes (200,000; under callgrind 20,000)")
    parser.add_argument("--top", type=int, default=40, metavar="N", help="lines to print (40)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the tool's data here")
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # we are the process under the tool; the rest as JSON
    return parser.parse_args()


Found = tuple[list[Cost], str]  # most expensive first, and the unit of `each`


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
            "log": options.request_log,
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
    if options.tool in ("none", "perf"):
        rate, system_us = requests / said["seconds"], said["system"] / requests * 1e6
        print(f"{rate:,.0f} req/s; {cpu_us:.2f} us of CPU a request, {system_us:.2f} of them in the kernel")
    if options.tool == "none":
        return
    costs, unit = FOUND[options.tool](data, said)
    print(f"\n{sum(cost.each for cost in costs):,.0f} {unit} a request; by function, without what it calls:\n")
    for cost in costs[: options.top]:
        print(f"{cost.each:10,.0f}  {cost.function}  {cost.where}")


def perf_costs(data: Path, said: dict[str, float]) -> Found:
    """Return what perf saw, most expensive first: its shares of the CPU time of the whole process."""
    command = f"perf report --input {data} --no-children --call-graph none --stdio --field-separator |".split()
    text = subprocess.run([*command, "--sort", "symbol,dso"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("|") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    percent_ns = said["process"] / said["requests"] * 1e9 / 100
    costs = [
        Cost(float(share.strip(" %")) * percent_ns, symbol.strip(), dso.strip()) for share, symbol, dso, *_ in rows
    ]
    return costs, "ns"


def callgrind_costs(data: Path, said: dict[str, float]) -> Found:
    """Return what callgrind saw. A function counts once, whatever files its code was inlined from."""
    command = ["callgrind_annotate", "--threshold=99.9", str(data)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counts: dict[str, int] = {}
    places: dict[str, str] = {}
    for count, function, where in re.findall(CALLGRIND_LINE, text, re.M):
        name = function.partition("'")[0]  # 'N: of a recursion
        counts[name] = counts.get(name, 0) + int(count.replace(",", ""))
        places[name] = places.get(name) or where
    costs = [Cost(count / said["requests"], name, places[name]) for name, count in counts.items()]
    return sorted(costs, reverse=True), "instructions"


FOUND = {"perf": perf_costs, "callgrind": callgrind_costs}


# Inside: one engine.


def inside(order: dict[str, object]) -> None:
    """Run an engine in this process and print, as JSON, what it did and what that cost."""
    from gaggle import loadtest
    from gaggle._core import Arena
    from gaggle.channel import Channel
    from gaggle.engine import Engine, Order
    from gaggle.metrics import Snapshot
    from gaggle.plan import Block, Plan
    from gaggle.records import Wanted

    arena, (ours, theirs) = Arena.create(), Channel.pair()
    users, wanted = int(str(order["users"])), int(str(order["requests"]))
    settings = {"base": order["url"], "cacert": order["cacert"], "lane": order["lane"]}
    records = Wanted({"request": (str(order["log"]), "json")} if order["log"] else {})
    asked = Order(0, 1, Block(1, 1, users, 0), Plan(users, 1e6), 1, 30.0, settings, records=records)
    engine = Engine(arena, theirs, loadtest.load(str(order["load_test"])), asked)

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
