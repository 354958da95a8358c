"""The process of a slot: locks itself in and forks the process of each call ahead of time.

It talks to the worker over one socket of packets (JSON). To the worker: `template` (its pidfd), `gate` (the socket on
which the worker serves the slot's way out), `rooms` (the directories that calls write to, where they are file systems
of their own), `broken` (why it can't go on), `spare` (a process waits for a call; comes with four descriptors: the pipes
of its calls, its answers and its raw output, and its pidfd), `exit` (that process ended), `clean`. To us, when a call is
over: `keep` (whether its process is kept), `rehearse` (whether the next process does a rehearsal).
In namespaces of its own it is the first process, whose end is the end of all others. Without them it still is the
reaper of everything that calls start, also of daemons, so its children and theirs are all there is.
"""

import json
import os
import select
import signal
import socket
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from . import child, confine, forks, network
from .confine import tell
from .emptying import Writable

if TYPE_CHECKING:
    from .master import Settings

# Exit status of a process that failed before it could take a call, and of a template that could not go on.
CHILD_FAILED = 71
TEMPLATE_FAILED = 73


def main(control: socket.socket, directory: str, settings: "Settings", outfit: child.Outfit) -> NoReturn:
    """Runs in the process that the master forked; never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener = None
        if settings.namespaces:
            confine.enter_namespaces(control)
            listener = confine.furnish(settings)
        else:
            confine.adopt_orphans()
            tell(control, {"kind": "template"}, [os.pidfd_open(os.getpid())])
        confine.lock_down(settings)
        if listener is not None:
            tell(control, {"kind": "gate"}, [listener.fileno()])
            network.install(listener.getsockname()[1])
            listener.close()
        os.environ["HOME"] = os.environ["TMPDIR"] = directory
        os.chdir(directory)
        Template(control, directory, settings, outfit).serve()
    except BaseException as error:
        tell(control, {"kind": "broken", "error": f"{type(error).__name__}: {error}"})
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(TEMPLATE_FAILED)


class Template:
    """One slot."""

    def __init__(self, control: socket.socket, directory: str, settings: "Settings", outfit: child.Outfit) -> None:
        self.control = control
        self.outfit = outfit
        # Where calls can write: what they leave there is removed.
        paths = confine.WRITABLE if settings.namespaces else [directory]
        self.directories = [Writable(path, own=settings.namespaces) for path in paths]
        self.alone = settings.namespaces
        self.pid = os.getpid()
        self.call_pid: int | None = None
        self.call_pidfd = -1
        if self.alone:
            self.tell_rooms()

    def serve(self) -> NoReturn:
        """Forks ahead, tells exits, sweeps; ends with everything it started when the worker is gone."""
        self.fork(rehearse=True)
        while True:
            poll = select.poll()
            poll.register(self.control, select.POLLIN)
            if self.call_pid is not None:
                poll.register(self.call_pidfd, select.POLLIN)
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self.call_pidfd in ready:
                self.tell_exit()
            if self.control.fileno() in ready:
                wish = self.hear()
                self.sweep(keep=bool(wish["keep"]), rehearse=bool(wish["rehearse"]))

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
        if not self.alone:
            self.directories[0].remove()
        os._exit(0)

    def fork(self, rehearse: bool) -> None:
        """Makes the process of the next call, with pipes of its own."""
        # Pipes, not a socket: a socket would carry descriptors to the worker, and whoever receives one may have to wait
        # until it is closed (SO_LINGER).
        pipes = [os.pipe() for _ in range(3)]
        (calls, to_call), (from_call, answers), (from_raw, raw) = pipes
        ours, theirs = [to_call, from_call, from_raw], [calls, answers, raw]
        pid = forks.bare_fork()
        if pid == 0:
            try:
                self.control.close()
                for end in ours:
                    os.close(end)
                # In namespaces of its own nothing outlives the template.
                child.main(self.outfit, calls, answers, raw, None if self.alone else self.pid, rehearse)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(CHILD_FAILED)
        self.call_pid, self.call_pidfd = pid, os.pidfd_open(pid)
        self.tell({"kind": "spare", "pid": pid}, [*ours, self.call_pidfd])
        for end in (*ours, *theirs):
            os.close(end)

    def tell(self, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Sends one packet; ends everything if the worker is gone."""
        try:
            tell(self.control, message, descriptors or [])
        except OSError:
            self.end()

    def tell_rooms(self) -> None:
        """Lets the worker see whether a call has left something in its directories."""
        rooms = [os.open(directory.path, os.O_PATH | os.O_DIRECTORY) for directory in self.directories]
        self.tell({"kind": "rooms"}, rooms)
        for room in rooms:
            os.close(room)

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

    def sweep(self, keep: bool, rehearse: bool) -> None:
        """Kills what the call left (and its own process unless it is kept), empties the directory, says so; and makes
        the next process if there is none."""
        # A process that never started another, nor a thread, has left none.
        single = self.alone and self.call_pid is not None and last_pid() == self.call_pid
        if single and keep and all(directory.is_empty() for directory in self.directories):
            self.tell({"kind": "clean", "leftovers": 0})
            return
        if single and not keep:
            # The worker need not wait until it is taken apart.
            kill(-1)
            self.tell({"kind": "clean", "leftovers": 0})
            self.tidy(kept=None)
        else:
            leftovers = self.tidy(kept=self.call_pid if keep else None)
            self.tell({"kind": "clean", "leftovers": leftovers})
        if self.call_pid is None:
            self.fork(rehearse)

    def tidy(self, kept: int | None) -> int:
        """Leaves nothing but the process `kept`; how many processes the call had left."""
        killed = self.kill_all(kept)
        if self.call_pid is not None and kept is None:
            killed.discard(self.call_pid)
            self.forget()
        for directory in self.directories:
            directory.empty()
        return len(killed)

    def kill_all(self, keep: int | None) -> set[int]:
        """Kills our descendants but `keep`; the processes that were alive. Each pass takes the children of the
        last one's dead, which become ours."""
        if self.alone and keep is None:
            # In one step, so that not even a fork bomb gets ahead of it.
            kill(-1)
            return set(reap())
        killed: set[int] = set()
        if keep and threads(keep) > 1:
            # A thread can't be killed alone: the process has to go with it.
            killed.add(keep)
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


def last_pid() -> int:
    """The number that the newest process or thread of our process namespace was given. No later one has been given as
    long as its own is taken."""
    told = os.open("/proc/loadavg", os.O_RDONLY)
    try:
        return int(os.read(told, 128).rpartition(b" ")[2])
    finally:
        os.close(told)


def reap() -> Iterator[int]:
    """Waits for the ends of all our children, and of theirs, which become ours; their numbers."""
    try:
        while True:
            yield os.wait()[0]
    except ChildProcessError:
        pass


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


def threads(pid: int) -> int:
    """How many threads a process has; the kernel's count, not that of its Python."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:  # It ended meanwhile.
        return 0


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
