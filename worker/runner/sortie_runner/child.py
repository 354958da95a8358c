"""The process of a call: waits for a call frame, runs the handler, answers, and ends (or waits for the next)."""

import gc
import json
import os
import random
from dataclasses import dataclass
from typing import Any

# Themselves, not by way of `signal`, whose enumerations would cost a twentieth of a call, and `threading`, which knows its
# own threads only.
import _signal
import _thread

from . import confine, invoke, loader
from .bounds import MIB, Bounds, free_memory_reserve
from .capture import Capture
from .failure import of_exception
from .frames import Channel, encode, encode_chunk, encode_code, encode_result

# Exit status of a process that failed before it could take a call.
FAILED = 71

PR_SET_PDEATHSIG = 1
# A call of which nobody hears.
NOTHING = "def handle_event(data):\n    return data\n"
REHEARSAL = json.dumps(
    {
        "call": 0,
        "keep": False,
        "source": NOTHING,
        "code": loader.pack(loader.compiled(NOTHING)),
        "input": {"a": [1.5, "b", 1, None]},
        "context": {
            "job": "",
            "action": "",
            "attempt": 1,
            "deadline": "2000-01-01T00:00:00.000Z",
            "remaining_ms": 60_000,
        },
        "limits": {"memory_mb": 1, "chunk_bytes": 1024, "result_bytes": 1024, "log_bytes": 1024},
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
    """What a call needs and can have before its process is there: made once, in the master. Each process of a call has a
    copy, and shares what it doesn't write to."""

    channel: Channel
    capture: Capture
    teller: Teller
    bounds: Bounds


def outfit(bounds: Bounds) -> Outfit:
    """Makes an outfit."""
    channel = Channel()
    capture = Capture(channel)
    os.register_at_fork(after_in_child=channel.disown)
    os.register_at_fork(after_in_child=capture.renew)
    return Outfit(channel, capture, Teller(channel, capture), bounds)


def main(outfit: Outfit, calls: int, answers: int, template: int | None, rehearsed: bool) -> None:
    """Runs in the process that was forked by `template` (`None` if its end is ours anyway), to its last answer. `rehearsed`
    if there is likely to be time before its call comes."""
    if template is not None:
        # It is our only owner: without it nobody would end us. It may have died before we asked.
        confine.prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != template:
            return
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    # Each process of a call has another chance.
    random.seed()
    gc.enable()
    outfit.channel.open(calls, answers)
    outfit.capture.install()
    if rehearsed:
        rehearse(outfit)
    serve(outfit)


def rehearse(outfit: Outfit) -> None:
    """Does a small call ahead of the real one: the memory pages that every call writes to become our own now, which
    takes half of the time off the call. Its module is replaced by that of the call."""
    call = json.loads(REHEARSAL)
    run(load(call, outfit.channel), call, call["limits"], outfit.teller)


def serve(outfit: Outfit) -> None:
    """Answers calls: one, or as many as come if the worker wants the process kept."""
    channel, capture, bounds = outfit.channel, outfit.capture, outfit.bounds
    owner = os.getpid()
    handler: loader.Handler | None = None
    limits: dict[str, int] = {}
    while (call := channel.receive()) is not None:
        # A call of a process that has had one comes without what is the same for all.
        limits = call.get("limits", limits)
        capture.log.reset(limits["log_bytes"])
        try:
            bounds.time(call["context"]["remaining_ms"] / 1000)
            if handler is None:
                bounds.memory(limits["memory_mb"] * MIB)
                handler = load(call, channel)
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


def load(call: dict[str, Any], channel: Channel) -> loader.Handler:
    """The handler of a call. If the call came without its code, that is the first that the worker is told: as long as nothing
    of the handler has run, nobody else can have made it."""
    packed = call["code"]
    code = None if packed is None else loader.unpack(packed)
    if code is None:
        code = loader.compiled(call["source"])
    if packed is None:
        channel.send(encode_code(loader.pack(code)))
    return loader.load(call["source"], code)


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
