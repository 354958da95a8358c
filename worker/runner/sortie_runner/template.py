"""The process of a slot: imports the common libraries once and forks the process of each call ahead of time.

It talks to the worker over one socket of packets (JSON). To the worker: `spare` (a process waits for a call; comes
with three descriptors: its frames, its raw output, its pidfd), `exit` (that process ended), `clean`. To us: `sweep`.
It is the reaper of everything that calls start, also of daemons, so its children and theirs are all there is.
"""

import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import stat
import traceback
from typing import Any, NoReturn

from . import child

PRELOAD = (
    "asyncio base64 collections concurrent.futures csv dataclasses datetime decimal email.message encodings.idna enum "
    "functools hashlib hmac html http.client inspect io itertools json logging math random re secrets socket ssl "
    "statistics string subprocess tempfile textwrap time traceback typing urllib.parse urllib.request uuid zoneinfo "
    "requests"
).split()
# Exit status of a process that failed before it could take a call.
CHILD_FAILED = 71


def main() -> NoReturn:
    """Serves the worker on the socket that is our standard input, until it closes."""
    close_inherited()
    control = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    preload()
    gc.collect()
    # Objects of the template are never looked at again by the collector: their pages stay shared.
    gc.freeze()
    gc.disable()
    Template(control, os.getcwd()).serve()


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


class Template:
    """One slot."""

    def __init__(self, control: socket.socket, directory: str) -> None:
        self.control = control
        self.directory = directory
        self.pid = os.getpid()
        self.call_pid: int | None = None
        self.call_pidfd = -1

    def serve(self) -> NoReturn:
        """Forks ahead, tells exits, sweeps; ends with everything it started when the worker is gone."""
        self.fork()
        while True:
            poll = select.poll()
            poll.register(self.control, select.POLLIN)
            if self.call_pid is not None:
                poll.register(self.call_pidfd, select.POLLIN)
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self.call_pidfd in ready:
                self.tell_exit()
            if self.control.fileno() in ready:
                self.sweep(keep=bool(self.hear()["keep"]))

    def hear(self) -> dict[str, Any]:
        """The next packet; ends everything if the worker is gone."""
        try:
            packet = self.control.recv(4096)
        except OSError:  # It left packets unread.
            packet = b""
        return json.loads(packet) if packet else self.end()

    def end(self) -> NoReturn:
        """Ends everything, and leaves nothing on the disk."""
        self.kill_all(keep=None)
        shutil.rmtree(self.directory, ignore_errors=True)
        os._exit(0)

    def fork(self) -> None:
        """Makes the process of the next call, with a channel and an output pipe of its own."""
        worker_end, call_end = socket.socketpair()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.control.close()
                worker_end.close()
                os.close(read)
                child.main(call_end, write, self.pid)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(CHILD_FAILED)
        self.call_pid, self.call_pidfd = pid, os.pidfd_open(pid)
        self.tell({"kind": "spare", "pid": pid}, [worker_end.fileno(), read, self.call_pidfd])
        for end in (worker_end, call_end):
            end.close()
        os.close(read)
        os.close(write)

    def tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Sends one packet; ends everything if the worker is gone."""
        try:
            socket.send_fds(self.control, [json.dumps(message).encode()], descriptors or [])
        except OSError:
            self.end()

    def tell_exit(self) -> None:
        """Reaps the process of the call and tells how it ended: its exit status, or minus the signal."""
        assert self.call_pid is not None
        _, status = os.waitpid(self.call_pid, 0)
        self.tell({"kind": "exit", "pid": self.call_pid, "code": os.waitstatus_to_exitcode(status)})
        self.forget()

    def forget(self) -> None:
        """The process of the call is gone."""
        os.close(self.call_pidfd)
        self.call_pid, self.call_pidfd = None, -1

    def sweep(self, keep: bool) -> None:
        """Kills what the call left (and its own process unless it is kept), empties the directory, says so."""
        kept = self.call_pid if keep else None
        own = self.call_pid is not None and kept is None
        killed = self.kill_all(kept)
        if own:
            killed.discard(self.call_pid or 0)
            self.forget()
        empty(self.directory)
        self.tell({"kind": "clean", "leftovers": len(killed)})
        if self.call_pid is None:
            self.fork()

    def kill_all(self, keep: int | None) -> set[int]:
        """Kills our descendants but `keep`; the processes that were alive. Each pass takes the children of the
        last one's dead, which become ours."""
        killed: set[int] = set()
        while True:
            # In this order: an orphan moves from them to us, never back.
            theirs = [pid for pid in descendants(keep) if state(pid) != "Z"] if keep else []
            ours = [pid for pid in children(self.pid) if pid != keep]
            if not ours and not theirs:
                return killed
            for pid in ours + theirs:
                if state(pid) != "Z":
                    killed.add(pid)
                kill(pid)
            for pid in ours:
                os.waitpid(pid, 0)


def children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as listing:
                found += map(int, listing.read().split())
    except OSError:  # It ended meanwhile.
        pass
    return found


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found = children(pid)
    for other in found:
        found += children(other)
    return found


def state(pid: int) -> str:
    """The state letter of a process; `Z` if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as told:
            return chr(told.read().rpartition(b") ")[2][0])
    except OSError:
        return "Z"


def kill(pid: int) -> None:
    """Kills a process that may be gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def empty(directory: str) -> None:
    """Removes what a call wrote. Never follows a link; fails if the directory itself is no longer ours."""
    if not stat.S_ISDIR(os.lstat(directory).st_mode):
        raise NotADirectoryError(directory)
    # The handler may have locked it.
    os.chmod(directory, 0o700)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, onexc=unlock_and_retry)
            else:
                os.unlink(entry.path)


def unlock_and_retry(function: Any, path: str, error: BaseException) -> None:
    """Removes an entry of a directory that the handler had made unreadable or read-only."""
    os.chmod(os.path.dirname(path), 0o700)
    if function in (os.open, os.scandir, os.lstat):
        os.chmod(path, 0o700)
        shutil.rmtree(path)
    elif function is os.rmdir:
        os.rmdir(path)
    else:
        os.unlink(path)

