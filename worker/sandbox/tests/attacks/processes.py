"""Attacks on processes: signals, tracing, surviving the end of the call, limits."""


def alive(pid):
    """False for what is gone, dead or stopped."""
    try:
        return read(f"/proc/{pid}/stat").rpartition(b") ")[2][:1] not in (b"Z", b"X", b"T")
    except OSError:
        return False


def victim():
    """A child that waits to be killed."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


def end_of(pid):
    _, status = os.waitpid(pid, 0)
    return f"killed by {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def template(alive_now=None):
    # A template that is stopped, or dies, does so at once; this only gives a signal time to be taken.
    time.sleep(0.05)
    return "alive" if alive(1) else "hit"


def kills_the_template(data, context):
    sent = {}
    for number in range(1, 65):
        sent[f"kill {number}"] = outcome(os.kill, 1, number)
        sent[f"tgkill {number}"] = outcome(signal.pthread_kill, threading.get_ident(), 0) if number > 31 else outcome(os.kill, os.getppid(), number)
    own = victim()
    os.kill(own, signal.SIGKILL)
    return {"sent": sent, "alive": template() == "alive", "own child": end_of(own)}


def kills_the_template_by_its_pidfd(data, context):
    pidfd = os.pidfd_open(1)
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
        signal.pidfd_send_signal(pidfd, number)
    own = victim()
    signal.pidfd_send_signal(os.pidfd_open(own), signal.SIGKILL)
    return {"template": template(), "own child": end_of(own)}


F_SETSIG = 10


def has_the_kernel_kill_the_template(data, context):
    def arm(pid, number):
        ours, theirs = socket.socketpair()
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
        fcntl.fcntl(ours, F_SETSIG, number)
        fcntl.fcntl(ours, fcntl.F_SETFL, fcntl.fcntl(ours, fcntl.F_GETFL) | fcntl.FASYNC)
        theirs.send(b"x")
        return ours, theirs

    kept = [arm(1, number) for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, 0)]
    own = victim()
    kept.append(arm(own, signal.SIGKILL))
    return {"template": template(), "own child": end_of(own)}


CLONE_PARENT = 0x8000


def has_the_kernel_signal_the_template_at_the_end_of_a_sibling(data, context):
    """A child whose parent is the template, which is to get SIGKILL when it ends."""
    ours, theirs = os.pipe()
    pid = raw(CALLS["clone"][COLUMN], CLONE_PARENT | signal.SIGKILL, 0, 0, 0, 0)
    if pid == 0:
        os.write(theirs, str(os.getppid()).encode())
        os._exit(0)
    parent = int(os.read(ours, 20))
    return {"parent of the sibling": parent, "template": template()}


def kills_everybody(data, context):
    own = victim()
    # Ourselves excepted, by the kernel.
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        os.kill(-1, number)
    return {"template": template(), "own child": end_of(own)}


def kills_the_worker(data, context):
    mine = os.getpid()
    reached = []
    for pid in range(1, 70000):
        if pid != mine and outcome(os.kill, pid, 0) != "ESRCH":
            reached.append(pid)
    worker = outcome(os.kill, data["worker"], signal.SIGKILL) if data["worker"] not in (1, mine) else "ESRCH"
    return {"reached": reached, "worker": worker}


PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE = 0, 16, 0x4206


def traces_the_template(data, context):
    return {
        "attach": syscall("ptrace", PTRACE_ATTACH, 1, 0, 0),
        "seize": syscall("ptrace", PTRACE_SEIZE, 1, 0, 0),
        "traced by it": in_child(lambda: syscall("ptrace", PTRACE_TRACEME, 0, 0, 0)),
    }


def traces_its_own_child(data, context):
    own = victim()
    told = syscall("ptrace", PTRACE_SEIZE, own, 0, 0)
    os.kill(own, signal.SIGKILL)
    os.waitpid(own, 0)
    return told


def looks_into_the_template(data, context):
    told = {}
    for name in ("mem", "maps", "smaps", "environ", "auxv", "pagemap", "stack", "syscall", "io", "personality"):
        told[name] = outcome(read, f"/proc/1/{name}")
    told["mem for writing"] = outcome(os.open, "/proc/1/mem", os.O_RDWR)
    for name in ("fd", "fdinfo", "map_files", "task/1/fd"):
        told[name] = outcome(os.listdir, f"/proc/1/{name}")
    for name in ("exe", "cwd", "root", "fd/0", "ns/user", "ns/net", "ns/mnt", "ns/pid"):
        told[name] = outcome(os.readlink, f"/proc/1/{name}")
    for name in ("fd/3", "fd/4", "ns/net"):
        told[f"{name} opened"] = outcome(os.open, f"/proc/1/{name}", os.O_RDONLY)
    return told


def vector(address, size):
    return struct.pack("PP", address, size)


def reads_the_memory_of_a_process(data, context):
    secret = ctypes.create_string_buffer(b"secret of the parent", 32)
    own = victim()
    address = ctypes.addressof(secret)

    def both(pid):
        buffer = ctypes.create_string_buffer(32)
        local, remote = vector(ctypes.addressof(buffer), 32), vector(address, 32)
        return {
            "read": syscall("process_vm_readv", pid, local, 1, remote, 1, 0),
            "write": syscall("process_vm_writev", pid, local, 1, remote, 1, 0),
        }

    told = {"own child": both(own), "template": both(1) if os.getppid() == 1 else "EPERM"}
    pidfd = os.pidfd_open(own)
    told["advice"] = syscall("process_madvise", pidfd, vector(address & ~4095, 4096), 1, 21, 0)
    os.kill(own, signal.SIGKILL)
    os.waitpid(own, 0)
    return told


def takes_descriptors_of_a_process(data, context):
    own = victim()
    told = {"own child": syscall("pidfd_getfd", os.pidfd_open(own), 0, 0)}
    for number in range(8):
        told[f"template {number}"] = syscall("pidfd_getfd", os.pidfd_open(os.getppid()), number, 0)
    os.kill(own, signal.SIGKILL)
    os.waitpid(own, 0)
    return told


def compares_itself_with_a_process(data, context):
    return {str(kind): syscall("kcmp", os.getpid(), 1, kind, 0, 0) for kind in range(7)}


def joins_the_group_of_the_template(data, context):
    told = {f"group {group}": outcome(os.setpgid, 0, group) for group in (1, 2)}
    told["group of the template changed"] = outcome(os.setpgid, 1, 1)
    told["its session"] = in_child(lambda: outcome(os.setpgid, 0, 1))
    told["signal to its group"] = outcome(os.killpg, 1, 9) if os.getpgrp() != 1 else "own"
    return told


TIOCSTI, TIOCLINUX = 0x5412, 0x541C


def types_into_a_terminal(data, context):
    told = {}
    for name, number in (("TIOCSTI", TIOCSTI), ("TIOCLINUX", TIOCLINUX)):
        for high in (0, 1 << 32):
            # The kernel looks at the lower half only; so must the filter.
            told[f"{name} {high:x}"] = syscall("ioctl", 0, number | high, ctypes.create_string_buffer(b"x"))
    return told


def changes_the_limits_of_the_template(data, context):
    one = struct.pack("QQ", 1, 1)
    told = {}
    for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_AS"):
        told[name] = syscall("prlimit64", 1, getattr(resource, name), one, 0)
    told["with a high half"] = syscall("prlimit64", (1 << 32) | 1, resource.RLIMIT_NOFILE, one, 0)
    return {"others": told, "own": syscall("prlimit64", 0, resource.RLIMIT_NOFILE, 0, ctypes.create_string_buffer(16))}


def changes_the_scheduling_of_the_template(data, context):
    one = ctypes.create_string_buffer(struct.pack("I", 0), 64)
    return {
        "policy": syscall("sched_setscheduler", 1, 5, one),
        "parameters": syscall("sched_setparam", 1, one),
        "attributes": syscall("sched_setattr", 1, one, 0),
        "processors": syscall("sched_setaffinity", 1, 8, struct.pack("Q", 1)),
        "niceness": syscall("setpriority", 0, 1, 19),
        "of its group": syscall("setpriority", 1, 1, 19),
        "of its user": syscall("setpriority", 2, 1000, 19),
        "its disk": syscall("ioprio_set", 1, 1, 0x6000),
    }


def takes_the_processor_from_the_template(data, context):
    return {
        "real time": syscall("sched_setscheduler", 0, 1, struct.pack("I", 1)),
        "round robin": syscall("sched_setscheduler", 0, 2, struct.pack("I", 1)),
        "deadline": syscall("sched_setattr", 0, struct.pack("IIQiIQQQ", 48, 6, 0, 0, 0, 10**6, 10**7, 10**7), 0),
        "niceness": syscall("setpriority", 0, 0, -1),
        "disk": syscall("ioprio_set", 1, 0, 0x2000),
    }


def starts_a_program_that_grants_rights(data, context):
    """Programs that are setuid on most hosts, and one that we made so."""
    import shutil

    shutil.copy("/bin/sh" if not os.path.islink("/bin/sh") else os.path.realpath("/bin/sh"), "/tmp/sh")
    os.chmod("/tmp/sh", 0o6755)
    ids = "import os; print(os.getuid(), os.geteuid())"
    own = subprocess.run(["/tmp/sh", "-c", f'"{sys.executable}" -I -c "{ids}"'], capture_output=True, text=True, check=True)
    rights = set()
    for name in ("su", "sudo", "mount", "passwd", "newuidmap", "ping", "fusermount3"):
        path = f"/usr/bin/{name}"
        if not os.path.exists(path):
            continue
        started = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            lines = read(f"/proc/{started.pid}/status").decode().splitlines()
            rights.update(line.split()[1] for line in lines if line.startswith(("CapEff", "CapPrm")))
        except OSError:
            pass
        started.kill()
        started.wait()
    rights.update(line.split()[1] for line in read("/proc/self/status").decode().splitlines() if line.startswith("Cap"))
    return {
        "user": list(os.getresuid())[:2],
        "own setuid file": [int(word) for word in own.stdout.split()],
        "capabilities": sorted(rights),
    }


def stays_as_a_daemon(data, context):
    return daemon(forever)


def stays_as_a_daemon_without_descriptors(data, context):
    def body():
        os.closerange(0, 1024)
        os.chdir("/")
        forever()

    return daemon(body)


def stays_as_a_sibling_of_its_own(data, context):
    pid = raw(CALLS["clone"][COLUMN], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        forever()
    return pid


def stays_behind_a_reaper_of_its_own(data, context):
    """A chain of reapers, so that no orphan comes to the template by itself."""
    syscall("prctl", 36, 1)

    def body():
        syscall("prctl", 36, 1)
        daemon(forever)
        forever()

    return daemon(body)


def stays_stopped(data, context):
    def body():
        os.kill(os.getpid(), signal.SIGSTOP)
        forever()

    return daemon(body)


def stays_by_running_away_from_the_killer(data, context):
    """Processes that live for a moment only, and each has a child before it ends."""

    def run():
        while True:
            if os.fork():
                os._exit(0)

    for _ in range(8):
        pid = daemon(run)
    return pid


def stays_when_it_is_stopped_at_its_limit(data, context):
    for _ in range(5):
        daemon(forever)
    yield "ready"
    forever()


def stays_when_its_process_crashes(data, context):
    for _ in range(5):
        daemon(forever)
    yield "ready"
    ctypes.string_at(0)


def stays_as_a_thread_of_a_process_whose_main_thread_ended(data, context):
    def body():
        threading.Thread(target=time.sleep, args=(600,)).start()
        # Ends this thread only: the process is a zombie with a living thread.
        libc.pthread_exit(None)

    return daemon(body)
