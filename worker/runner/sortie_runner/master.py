"""A master of slots: loads once what they have in common and forks a slot whenever the worker asks for one.

It talks to the worker over one socket of packets (JSON), its standard input. To the worker: `ready`, with the modules that
calls find loaded. To us: `slot`, with one descriptor: the control socket of the new slot. What a slot shares with the others
is the memory of what is loaded, which costs it nothing until it writes to it; but a fork costs more, the more of it there is.
So there are two masters: one with the common libraries, and one with hardly more than we need ourselves.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import NoReturn

from . import child, image, immortal, rehearsal, template
from .syscalls import Maker

PRELOAD = (
    "asyncio base64 collections concurrent.futures csv dataclasses datetime decimal email.message encodings.idna enum "
    "functools hashlib hmac html http.client inspect io itertools json logging math random re secrets socket ssl "
    "statistics string subprocess tempfile textwrap time traceback typing urllib.parse urllib.request uuid zoneinfo "
    "requests"
).split()
# How many modules are told at most: twice as many as there are without the libraries, and still less than a packet holds.
TOLD = 160


@dataclass(frozen=True)
class Settings:
    """What the worker wants of its slots. worker/src/python/master.rs writes it."""

    # Common libraries are loaded, not only what we use ourselves.
    libraries: bool
    # Every slot gets namespaces of its own; the master is in some already.
    namespaces: bool
    # The file with the filters of system calls.
    filters: str | None
    # What the private directory may hold: bytes, and files.
    tmp_bytes: int
    tmp_files: int
    # Processes and threads of a slot.
    processes: int
    # The largest file that a call may write, in bytes.
    file_bytes: int


def main(settings: str) -> NoReturn:
    """Serves the worker until it closes the socket."""
    close_inherited()
    control = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Ended slots need no farewell; and the only signal of Python's that could end us or a template is ignored.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted = Settings(**json.loads(settings))
    if wanted.libraries:
        preload()
    maker = make_maker()
    outfit = rehearsal.outfit(maker)
    gc.collect()
    immortal.make_all()
    # What is there now is never looked at again by the collector: its pages stay shared.
    gc.freeze()
    gc.disable()
    if maker is not None:
        move(maker)
    # What a call touches is mapped before it is forked.
    child.rehearse(outfit)
    serve(control, wanted, outfit, maker)


def serve(control: socket.socket, settings: Settings, outfit: child.Outfit, maker: Maker | None) -> NoReturn:
    """Forks a slot for each packet."""
    control.sendall(ready())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        if not packet:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            # In the place of ours, so that no number below it is free.
            control = socket.socket(fileno=os.dup(descriptors[0]))
            os.close(descriptors[0])
            template.main(control, json.loads(packet)["directory"], settings, outfit, maker)
        os.close(descriptors[0])


def ready() -> bytes:
    """The packet that tells it, with the modules that a call finds loaded. Not those that import others by names that nobody
    knows ahead; and no more than fit: one that isn't told is not counted on."""
    told: list[str] = []
    for name in sorted(sys.modules, key=len):
        if not name.startswith(("_", "importlib", "sortie_runner")):
            told.append(name)
        if len(told) == TOLD:
            break
    return json.dumps({"kind": "ready", "modules": told}).encode()


def make_maker() -> Maker | None:
    """What makes forks cheaper, as far as the host lets us."""
    try:
        return Maker()
    except OSError as error:
        complain(error)
        return None


def move(maker: Maker) -> None:
    """Makes them cheaper still, likewise."""
    try:
        image.move(maker)
    except OSError as error:
        complain(error)


def complain(error: OSError) -> None:
    """Tells the worker's log."""
    os.write(2, f"forks cost more than they have to: {error}\n".encode())


def close_inherited() -> None:
    """Closes what the worker's own starter may have left open in it."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:  # The descriptor of the listing itself.
                pass


def preload() -> None:
    """Imports what handlers usually do. `requests` may be missing: set-up says so, not we."""
    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
