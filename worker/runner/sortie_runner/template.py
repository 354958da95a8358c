"""The process of a slot: locks itself in and forks the process of each call ahead of time.

It talks to the worker over one socket of packets (JSON). To the worker: `template` (its pidfd), `gate` (the socket on
which the worker serves the slot's way out), `rooms` (the directories that calls write to, where they are file systems
of their own), `broken` (why it can't go on), `spare` (a process waits for a call; comes with seven descriptors: the pipes
of its calls, its answers and its raw output, each with its reading end first, and its pidfd). To us, when a call is over:
`sweep` (with `keep`: whether its process is kept; and `rehearse`: whether the next process does a rehearsal), which `spare`
answers, or `clean` if the process is kept, both with how many processes the call had left; `next`, a sweep that keeps
nothing and where hardly anything is to be swept (quick.py); and `reap`, when its process has ended, which `exit` answers.
In namespaces of its own it is the first process, whose end is the end of all others. Without them it still is the
reaper of everything that calls start, also of daemons, so its children and theirs are all there is.
"""

import gc
import json
import os
import signal
import socket
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from . import bounds, child, confine, forks, network
from .confine import tell
from .emptying import Writable
from .quick import ANSWERS, CALLS, Quick, usual
from .syscalls import Maker, Unavailable

if TYPE_CHECKING:
    from .master import Settings

# Exit status of a template that could not go on.
TEMPLATE_FAILED = 73


def main(
    control: socket.socket, directory: str, settings: "Settings", outfit: child.Outfit, maker: Maker | None
) -> NoReturn:
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
        made = Template(control, directory, settings, outfit, maker)
        # What there is before a call is nothing that it would have to look through for garbage.
        gc.freeze()
        made.serve()
    except BaseException as error:
        tell(control, {"kind": "broken", "error": f"{type(error).__name__}: {error}"})
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(TEMPLATE_FAILED)


class Template:
    """One slot."""

    def __init__(
        self, control: socket.socket, directory: str, settings: "Settings", outfit: child.Outfit, maker: Maker | None
    ) -> None:
        self.control = control
        self.outfit = outfit
        # Where calls can write: what they leave there is removed.
        paths = confine.WRITABLE if settings.namespaces else [directory]
        self.directories = [Writable(path, own=settings.namespaces) for path in paths]
        self.alone = settings.namespaces
        self.pid = os.getpid()
        self.call_pid: int | None = None
        self.quick = None
        if self.alone:
            self.tell_rooms()
            self.quick = self.prepare(maker) if maker is not None else None

    def prepare(self, maker: Maker) -> Quick | None:
        """Makes calls follow each other quickly, where the host lets us."""
        try:
            way = usual(maker, self.control.fileno(), self.directories)
            return Quick(maker, way, self.run_call)
        except Unavailable as error:
            os.write(2, f"fresh calls cost more than they have to: {error}\n".encode())
            return None

    def serve(self) -> NoReturn:
        """Forks ahead, sweeps, tells exits; ends with everything it started when the worker is gone."""
        self.fork(rehearse=True, leftovers=0)
        while True:
            wish = self.hear()
            if wish["kind"] == "reap":
                self.tell_exit()
            else:
                self.sweep(keep=wish["kind"] == "sweep" and wish["keep"], rehearse=bool(wish["rehearse"]))

    def hear(self) -> dict[str, Any]:
        """The next wish that is left to us; ends everything if the worker is gone."""
        packet = self.receive() if self.quick is None else self.hear_rest(self.quick)
        return json.loads(packet) if packet else self.end()

    def receive(self) -> bytes:
        """The next packet; empty if the worker is gone."""
        try:
            return self.control.recv(4096)
        except OSError:  # It left packets unread.
            return b""

    def hear_rest(self, quick: Quick) -> bytes:
        """The same, without wishes that could be fulfilled at once."""
        heard = quick.hear()
        self.call_pid = heard.pid or self.call_pid
        return heard.packet

    def end(self) -> NoReturn:
        """Ends everything, and leaves nothing on the disk."""
        self.kill_all(keep=None)
        if not self.alone:
            self.directories[0].remove()
        os._exit(0)

    def fork(self, rehearse: bool, leftovers: int) -> None:
        """Makes the process of the next call, with pipes of its own, and tells so."""
        # Pipes, not a socket: a socket would carry descriptors to the worker, and whoever receives one may have to wait
        # until it is closed (SO_LINGER).
        pipes = [end for _ in range(3) for end in os.pipe()]
        pid = forks.bare_fork()
        if pid == 0:
            self.settle(pipes)
            self.run_call(rehearse)
        self.call_pid, pidfd = pid, os.pidfd_open(pid)
        self.tell({"kind": "spare", "leftovers": leftovers}, [*pipes, pidfd])
        for descriptor in (*pipes, pidfd):
            os.close(descriptor)

    def settle(self, pipes: list[int]) -> None:
        """Makes a process that was just forked that of a call, as `quick.usual` does: it keeps its own ends of the pipes and
        nothing else, in a group of its own, so that a signal to "our group" reaches neither template nor worker."""
        calls, _, _, answers, _, raw = pipes
        os.dup2(raw, 1)
        os.dup2(raw, 2)
        os.dup2(calls, CALLS, inheritable=False)
        os.dup2(answers, ANSWERS, inheritable=False)
        os.closerange(ANSWERS + 1, max(pipes) + 1)
        os.setpgid(0, 0)
        bounds.bound_descriptors()

    def run_call(self, rehearse: bool) -> NoReturn:
        """Runs in the process of a call."""
        try:
            # In namespaces of its own nothing outlives the template.
            child.main(self.outfit, CALLS, ANSWERS, None if self.alone else self.pid, rehearse)
            # Without exit handlers and without waiting for threads: the call is over.
            os._exit(0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(child.FAILED)

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
        """Reaps the process of the call, which has ended, and tells how: its exit status, or minus the signal."""
        assert self.call_pid is not None
        _, status = os.waitpid(self.call_pid, 0)
        self.call_pid = None
        self.tell({"kind": "exit", "code": os.waitstatus_to_exitcode(status)})

    def sweep(self, keep: bool, rehearse: bool) -> None:
        """Kills what the call left (and its own process unless it is kept), empties the directories, and says so; with
        another process if there is none."""
        keep = keep and self.call_pid is not None and not has_ended(self.call_pid)
        # A process that never started another, nor a thread, has left none.
        single = self.alone and self.call_pid is not None and last_pid() == self.call_pid
        untouched = single and keep and all(directory.is_empty() for directory in self.directories)
        leftovers = 0 if untouched else self.tidy(kept=self.call_pid if keep else None)
        if self.call_pid is None:
            self.fork(rehearse, leftovers)
        else:
            self.tell({"kind": "clean", "leftovers": leftovers})

    def tidy(self, kept: int | None) -> int:
        """Leaves nothing but the process `kept`; how many processes the call had left."""
        killed = self.kill_all(kept)
        if self.call_pid is not None and kept is None:
            killed.discard(self.call_pid)
            self.call_pid = None
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


def has_ended(pid: int) -> bool:
    """True if a child of ours has ended; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


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
