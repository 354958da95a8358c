"""The measures, the same for every peer: `load.py PEER MEASURE [OPTIONS]` prints one JSON object."""

import argparse
import importlib
import json
import math
import sys
import time

from client import PATIENCE_SECONDS

WARM_UP_JOBS = 200
WARM_UP_SINGLY = 20
POLL_SECONDS = 0.02


def main():
    options = parse(sys.argv[1:])
    client = importlib.import_module(f"peer_{options.peer}").Peer()
    client.reset()
    told = {"peer": options.peer, "measure": options.measure, "queue": client.queue_kind}
    print(json.dumps(told | MEASURES[options.measure](client, options)), flush=True)
    client.close()


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["celery", "dramatiq", "taskiq"])
    measures = parser.add_subparsers(dest="measure", required=True)
    throughput = measures.add_parser("throughput")
    latency = measures.add_parser("latency")
    open_loop = measures.add_parser("open")
    backlog = measures.add_parser("backlog")
    for measure in throughput, latency, backlog:
        measure.add_argument("--jobs", type=int, required=True)
    for measure in throughput, latency, open_loop:
        measure.add_argument("--task", choices=["noop", "cpu", "wait"], default="noop")
    open_loop.add_argument("--rate", type=float, required=True)
    open_loop.add_argument("--seconds", type=float, required=True)
    return parser.parse_args(arguments)


def throughput(client, options):
    """All jobs as fast as the client submits them; from the first submit to the last result."""
    warm_up(client, options.task)
    arguments = arguments_of(options.jobs)
    start = time.perf_counter()
    handles = client.submit_all(options.task, arguments)
    submitted = time.perf_counter()
    values = client.results(handles)
    seconds = time.perf_counter() - start
    check(arguments, values)
    return {
        "task": options.task,
        "jobs": options.jobs,
        "seconds": seconds,
        "per_second": options.jobs / seconds,
        "submit_seconds": submitted - start,
    }


def latency(client, options):
    """One job at a time, from before its submit until its result is in hand."""
    warm_up(client, options.task)
    seconds = []
    for argument in arguments_of(options.jobs):
        start = time.perf_counter()
        value = client.result(client.submit(options.task, argument))
        seconds.append(time.perf_counter() - start)
        check([argument], [value])
    return {"task": options.task, "jobs": options.jobs} | percentiles(seconds)


def open_loop(client, options):
    """Jobs at a fixed rate, counted from when each should have been submitted, so that a late one is not flattered."""
    warm_up(client, options.task)
    arguments = arguments_of(int(options.rate * options.seconds))
    start = time.perf_counter() + 0.1
    instants = [start + index / options.rate for index in range(len(arguments))]
    finished = client.paced(options.task, arguments, instants)
    check(arguments, [value for _, value in finished])
    seconds = [instant - intended for (instant, _), intended in zip(finished, instants)]
    achieved = len(arguments) / (max(instant for instant, _ in finished) - start)
    return {
        "task": options.task,
        "rate": options.rate,
        "achieved_per_second": achieved,
        "jobs": len(arguments),
    } | percentiles(seconds)


def backlog(client, options):
    """Fills the queue, says so in a first line of JSON, then watches how the worker that the caller starts drains it:
    by counting results, which costs next to nothing, from the first that is seen to the last."""
    arguments = arguments_of(options.jobs)
    start = time.perf_counter()
    handles = client.submit_all("noop", arguments)
    print(json.dumps({"filled": options.jobs, "fill_seconds": time.perf_counter() - start}), flush=True)
    store = client.store()
    first = results_in(store, 1)
    start = time.perf_counter()
    results_in(store, options.jobs)
    seconds = time.perf_counter() - start
    some = slice(None, None, math.ceil(options.jobs / 1000))
    check(arguments[some], client.results(handles[some]))
    return {"jobs": options.jobs, "seconds": seconds, "per_second": (options.jobs - first) / seconds}


def results_in(store, enough):
    """Waits until there are enough of them, and returns how many there are; gives up when they stop coming."""
    seen, until = 0, time.monotonic() + PATIENCE_SECONDS
    while (found := store.dbsize()) < enough:
        if found > seen:
            seen, until = found, time.monotonic() + PATIENCE_SECONDS
        if time.monotonic() > until:
            sys.exit(f"{found} results of {enough}")
        time.sleep(POLL_SECONDS)
    return found


MEASURES = {"throughput": throughput, "latency": latency, "open": open_loop, "backlog": backlog}


def warm_up(client, task):
    """Connections are open and code is loaded on both sides before anything counts."""
    arguments = arguments_of(WARM_UP_JOBS)
    singly, at_once = arguments[:WARM_UP_SINGLY], arguments[WARM_UP_SINGLY:]
    values = [client.result(client.submit(task, argument)) for argument in singly]
    check(arguments, values + client.results(client.submit_all(task, at_once)))


def arguments_of(jobs):
    return [{"n": index} for index in range(jobs)]


def check(arguments, values):
    for argument, value in zip(arguments, values, strict=True):
        if argument != value:
            sys.exit(f"wrong result: {value!r} for {argument!r}")


def percentiles(seconds):
    ordered = sorted(seconds)
    at = {share: ordered[math.ceil(len(ordered) * share / 100) - 1] for share in (50, 95, 99)}
    return {f"p{share}_ms": round(value * 1000, 3) for share, value in at.items()}


if __name__ == "__main__":
    main()
