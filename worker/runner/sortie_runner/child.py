"""The process of a call: waits for a call frame, runs the handler, answers, and ends (or waits for the next)."""

import gc
import json
import math
import os
import random
import resource
import time
from dataclasses import dataclass
from typing import Any

# Themselves, not by way of `signal`, whose enumerations would cost a twentieth of a call, and `threading`, which knows its
# own threads only.
import _signal
import _thread

from . import confine, invoke, loader
from .capture import Capture
from .failure import of_exception
from .frames import Channel, encode, encode_chunk, encode_result

PR_SET_PDEATHSIG = 1
MIB = 1024 * 1024
# What a process needs beyond what it has when it starts, however small `memory_mb` is.
MEMORY_FLOOR = 16 * MIB
# Kept back from the handler, to tell that its memory is used up.
MEMORY_RESERVE = 8 * MIB
# So often that the interpreter has adapted the code to what it does with it, which writes to it.
REHEARSALS = 10
# A call of which nobody hears.
REHEARSAL = json.dumps(
    {
        "call": 0,
        "source": "def handle_event(data):\n    return data\n",
        "input": {"a": [1.5, "b", 1, None]},
        "context": {
            "job": "",
            "action": "",
            "attempt": 1,
            "deadline": "2000-01-01T00:00:00.000Z",
            "remaining_ms": 0,
        },
        "limits": {"chunk_bytes": 1024, "result_bytes": 1024, "log_bytes": 1024},
    }
)


class Teller:
    """Tells the worker chunks and progress, behind what was printed before them."""

    def __init__(self, channel: Channel, capture: Capture) -> None:
        self._channel = channel
        self._capture = capture

    def chunk(self, text: bytes) -> None:
        """See `invoke.Teller`."""
        self._capture.flush()
        self._channel.send(encode_chunk(text))

    def progress(self, fraction: float, message: str | None) -> None:
        """See `invoke.Teller`."""
        self._capture.flush()
        self._channel.send(encode("progress", {"fraction": fraction, "message": message}))


@dataclass(frozen=True)
class Outfit:
    """What a call needs and can have before its process is there."""

    channel: Channel
    capture: Capture
    teller: Teller
    # The least memory that a call may be bounded to, in bytes.
    least_memory: int
    # Cores that it may use at once.
    cores: int


def outfit() -> Outfit:
    """Makes an outfit, once, in the master: each process of a call has a copy, and shares what it doesn't write to."""
    channel = Channel()
    capture = Capture(channel)
    os.register_at_fork(after_in_child=channel.disown)
    os.register_at_fork(after_in_child=capture.renew)
    teller = Teller(channel, capture)
    for _ in range(REHEARSALS):
        rehearse(teller)
        rehearse_all(channel, capture, teller)
    return Outfit(channel, capture, teller, private_memory() + MEMORY_FLOOR, len(os.sched_getaffinity(0)))


def main(outfit: Outfit, calls: int, answers: int, raw: int, template: int | None, rehearsed: bool) -> None:
    """Runs in the process that was forked by `template` (`None` if its end is ours anyway); never returns. `rehearsed` if
    there is likely to be time before its call comes."""
    if template is not None:
        # It is our only owner: without it nobody would end us. It may have died before we asked.
        confine.prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != template:
            os._exit(0)
    # A group of our own, so that a signal to "our group" reaches neither template nor worker.
    os.setpgid(0, 0)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    # Each process of a call has another chance.
    random.seed()
    limit_descriptors()
    os.dup2(raw, 1)
    os.dup2(raw, 2)
    os.close(raw)
    # What there is before the call is nothing to look through for garbage.
    gc.freeze()
    gc.enable()
    outfit.channel.open(calls, answers)
    outfit.capture.install()
    if rehearsed:
        rehearse(outfit.teller)
    serve(outfit)


def rehearse(teller: Teller) -> None:
    """Does a small call ahead of the real one: the memory pages that every call writes to become our own now, which
    takes half of the time off the call. Its module is replaced by that of the call."""
    call = json.loads(REHEARSAL)
    run(loader.load(call["source"]), call, call["limits"], teller)


def rehearse_all(channel: Channel, capture: Capture, teller: Teller) -> None:
    """The same with what comes before it and behind it, over pipes of its own."""
    calls, to_call = os.pipe()
    from_call, answers = os.pipe()
    os.write(to_call, encode("call", json.loads(REHEARSAL)))
    random.seed()
    channel.open(calls, answers)
    call = channel.receive()
    assert call is not None
    capture.log.reset(call["limits"]["log_bytes"])
    answer = run(loader.load(call["source"]), call, call["limits"], teller)
    flush(capture)
    channel.send(answer)
    channel.disown()
    for end in (to_call, from_call):
        os.close(end)


def serve(outfit: Outfit) -> None:
    """Answers calls: one, or as many as come if the worker wants the process kept."""
    channel, capture = outfit.channel, outfit.capture
    owner = os.getpid()
    limit_cpu = CpuLimit(outfit.cores)
    handler: loader.Handler | None = None
    limits: dict[str, int] = {}
    while (call := channel.receive()) is not None:
        # A call of a process that has had one comes without what is the same for all.
        limits = call.get("limits", limits)
        capture.log.reset(limits["log_bytes"])
        try:
            limit_cpu.bound(call["context"]["remaining_ms"] / 1000)
            if handler is None:
                limit_memory(max(limits["memory_mb"] * MIB, outfit.least_memory))
                handler = loader.load(call["source"])
            answer = run(handler, call, limits, outfit.teller)
        except BaseException as error:
            free_memory_reserve()
            fields = of_exception(error, limits["memory_mb"]).fields()
            answer = encode("failure", {"call": call["call"], **fields})
            call["keep"] = False
        if os.getpid() != owner:
            # The handler forked, and this is the other process: it has nobody to answer to.
            os._exit(0)
        flush(capture)
        channel.send(answer)
        if not call["keep"]:
            break
    # Without exit handlers and without waiting for threads: the call is over.
    os._exit(0)


def run(handler: loader.Handler, call: dict[str, Any], limits: dict[str, int], teller: Teller) -> bytes:
    """One call; its `result` frame. What the handler raises passes through."""
    result = invoke.invoke(handler, call, limits, teller)
    # Threads of any kind but the one that we are.
    return encode_result(call["call"], result, _thread._count() == 0)


def flush(capture: Capture) -> None:
    """Sends unfinished lines; a handler that broke its streams loses them, not its result."""
    try:
        capture.flush()
    except Exception:
        pass


def private_memory() -> int:
    """The bytes that `limit_memory` counts."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[5]) * resource.getpagesize()


def limit_descriptors() -> None:
    """Bounds open descriptors to a quarter of what the template may have. Those under way in messages that nobody
    takes are counted for the user, over all slots, and refused to whoever may have fewer than there are: so calls
    can't keep a template from passing its own."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limit_memory(most: int) -> None:
    """Bounds private memory (RLIMIT_DATA: unlike the address space, it doesn't count what threads only reserve)."""
    resource.setrlimit(resource.RLIMIT_DATA, (most, most + MEMORY_RESERVE))


class CpuLimit:
    """Bounds the processor time of calls, in case that the clock that ends them fails: every core for as long as the call
    may last. Told to the kernel where it is another second than for the call before."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.most = -1

    def bound(self, seconds: float) -> None:
        most = math.ceil(time.process_time() + seconds * self.cores) + 1
        if most != self.most:
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (most, hard))
            self.most = most


def free_memory_reserve() -> None:
    """Lets the report of a failure have the memory that was kept back for it."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    except (ValueError, OSError):
        pass
