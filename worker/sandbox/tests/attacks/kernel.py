"""Attacks on the kernel by system calls: namespaces, mounts, keys, bpf, perf, io_uring, modules, clocks, limits."""

CLONE_NEW = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
NEWUSER = CLONE_NEW["user"]


def alone(function):
    """Tried in a child, which may change itself."""
    return in_child(function)


def makes_a_user_namespace(data, context):
    return {"unshare": alone(lambda: syscall("unshare", NEWUSER))}


def makes_each_kind_of_namespace(data, context):
    told = {name: syscall("unshare", flag) for name, flag in CLONE_NEW.items()}
    told["time"] = syscall("unshare", 0x80)
    told["all"] = syscall("unshare", sum(CLONE_NEW.values()))
    told["files"] = syscall("unshare", 0x400)
    return told


def made(pid):
    """What came of a call that makes a process: the new one ends at once."""
    if pid == 0:
        os._exit(0)
    if isinstance(pid, str):
        return pid
    os.waitpid(pid, 0)
    return "done"


def cloned(flags):
    return made(raw(CALLS["clone"][COLUMN], flags | signal.SIGCHLD, 0, 0, 0, 0))


def makes_a_namespace_with_a_new_process(data, context):
    told = {name: cloned(flag) for name, flag in CLONE_NEW.items()}
    told["all"] = cloned(sum(CLONE_NEW.values()))
    told["with a high half"] = cloned(CLONE_NEW["net"] | 1 << 40)
    return {"with": told, "user": cloned(NEWUSER), "without": cloned(0)}


def clone3(flags):
    arguments = struct.pack("11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    return made(raw(CALLS["clone3"][COLUMN], ctypes.create_string_buffer(arguments), len(arguments)))


def makes_a_process_by_clone3(data, context):
    return {"process": clone3(0), "namespace": clone3(NEWUSER)}


def enters_a_namespace_of_the_host(data, context):
    told = {}
    for name in ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup", "time"):
        own = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        told[f"own {name}"] = syscall("setns", own, 0)
        told[f"the template's {name}"] = outcome(os.open, f"/proc/1/ns/{name}", os.O_RDONLY)
    told["by pidfd"] = syscall("setns", os.pidfd_open(os.getpid()), NEWUSER)
    # NS_GET_PARENT, NS_GET_USERNS: ways up from a namespace.
    own = os.open("/proc/self/ns/user", os.O_RDONLY)
    for number in (0xB701, 0xB702):
        told[f"ioctl {number:x}"] = outcome(fcntl.ioctl, own, number)
    return told


def mounts_a_file_system(data, context):
    kinds = "tmpfs proc sysfs devpts devtmpfs overlay ramfs fuse mqueue cgroup2 ext4 nfs debugfs bpf".split()
    told = {kind: syscall("mount", b"none", b"/tmp", kind.encode(), 0, 0) for kind in kinds}
    told["bind"] = syscall("mount", b"/", b"/tmp", 0, 0x1000, 0)
    told["move"] = syscall("mount", b"/dev/shm", b"/tmp", 0, 0x2000, 0)
    told["shared"] = syscall("mount", 0, b"/", 0, 0x100000, 0)
    return told


def makes_a_read_only_mount_writable(data, context):
    remount, bind = 0x20, 0x1000
    told = {}
    for place in (b"/", b"/usr/bin", b"/sortie", b"/dev/null", sys.prefix.encode()):
        told[place.decode()] = syscall("mount", 0, place, 0, remount | bind, 0)
        attributes = struct.pack("QQQQ", 0, 1, 0, 0)
        told[place.decode() + " by attributes"] = syscall("mount_setattr", -100, place, 0, attributes, 32)
    told["larger tmp"] = syscall("mount", 0, b"/tmp", 0, remount, b"size=100g")
    return told


def takes_a_mount_away(data, context):
    places = (b"/proc", b"/tmp", b"/dev/shm", b"/usr/bin", b"/sortie", b"/")
    return {f"{place.decode()} {flag}": syscall("umount2", place, flag) for place in places for flag in (0, 1, 2)}


def changes_the_root(data, context):
    """The classic way out: keep a descriptor of the old root, change the root below it, climb."""
    os.makedirs("/tmp/new/old")
    root = os.open("/", os.O_RDONLY)
    told = {"chroot": syscall("chroot", b"/tmp/new"), "pivot_root": syscall("pivot_root", b"/tmp/new", b"/tmp/new/old")}
    os.fchdir(root)
    told["again"] = syscall("chroot", b".")
    return told


def uses_the_newer_calls_for_mounts(data, context):
    return {
        "open_tree": alone(lambda: syscall("open_tree", -100, b"/tmp", 0)),
        "clone of a tree": syscall("open_tree", -100, b"/", 1),
        "move_mount": syscall("move_mount", -1, b"", -100, b"/tmp", 4),
        "fsopen": alone(lambda: syscall("fsopen", b"tmpfs", 0) if os.getuid() else "not tried as root"),
        "fsconfig": syscall("fsconfig", -1, 0, 0, 0, 0),
        "fsmount": syscall("fsmount", -1, 0, 0),
        "fspick": syscall("fspick", -1, b"", 0),
        "mount_setattr": syscall("mount_setattr", -1, b"", 0, 0, 0),
    }


def keeps_a_key_in_the_kernel(data, context):
    return {
        "add_key": alone(lambda: syscall("add_key", b"user", b"attack", b"x", 1, -2)),
        "request_key": alone(lambda: syscall("request_key", b"user", b"attack", 0, -2)),
        "session": alone(lambda: syscall("keyctl", 0, -3, 0)),
        "read": alone(lambda: syscall("keyctl", 11, -3, 0, 0)),
    }


def loads_a_program_for_the_kernel(data, context):
    attributes = bytes(128)
    return {str(command): syscall("bpf", command, attributes, 128) for command in range(0, 12)}


def counts_events_of_the_machine(data, context):
    # An event of the own program's, in user mode only: what an ordinary user may count on most hosts.
    attributes = bytearray(struct.pack("IIQQQQQ", 1, 128, 0, 0, 0, 0, 0b1100001) + bytes(128))[:128]
    return {
        "perf_event_open": alone(lambda: syscall("perf_event_open", bytes(attributes), 0, -1, -1, 0)),
        "bad size": syscall("perf_event_open", struct.pack("II", 1, 1) + bytes(120), 0, -1, -1, 0),
        "of the machine": syscall("perf_event_open", struct.pack("II", 1, 1) + bytes(120), -1, 0, -1, 0),
    }


def handles_page_faults_itself(data, context):
    return {"all": alone(lambda: syscall("userfaultfd", 0)), "only those of the program": alone(lambda: syscall("userfaultfd", 1))}


def goes_around_the_filter_by_io_uring(data, context):
    return {
        "io_uring_setup": alone(lambda: syscall("io_uring_setup", 8, ctypes.create_string_buffer(120))),
        "io_uring_enter": syscall("io_uring_enter", -1, 0, 0, 0, 0, 0),
        "io_uring_register": syscall("io_uring_register", -1, 0, 0, 0),
    }


def loads_a_kernel(data, context):
    return {"kexec_load": syscall("kexec_load", 0, 0, 0, 0), "kexec_file_load": syscall("kexec_file_load", -1, -1, 0, 0, 0)}


def loads_a_module(data, context):
    file = os.open("/tmp/module.ko", os.O_CREAT | os.O_RDWR)
    return {
        "init_module": syscall("init_module", b"x", 1, b""),
        "finit_module": syscall("finit_module", file, b"", 0),
        "delete_module": syscall("delete_module", b"none", 0),
    }


def has_the_kernel_load_a_module_for_a_protocol(data, context):
    """Sockets of rare protocols make the kernel load their modules, for whoever asks."""
    rare = {}
    for protocol in (33, 46, 103, 108, 115, 132, 136, 262):
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (1, 2, 4, 5):
                rare[f"{family} {kind} {protocol}"] = outcome(_socket.socket, family, kind, protocol)
    for family in range(3, 46):
        if family != socket.AF_INET6:
            rare[f"family {family}"] = outcome(_socket.socket, family, 2, 0)
    ordinary = {
        f"{family} {kind} {protocol}": outcome(_socket.socket, family, kind, protocol)
        for family in (socket.AF_INET, socket.AF_INET6)
        for kind, protocol in ((1, 0), (1, 6), (2, 0), (2, 17))
    }
    return {"rare": rare, "ordinary": ordinary}


def stops_the_machine(data, context):
    return {"reboot": syscall("reboot", 0xFEE1DEAD, 672274793, 0x01234567, 0), "vhangup": syscall("vhangup")}


def swaps(data, context):
    return {"swapon": syscall("swapon", b"/tmp/none", 0), "swapoff": syscall("swapoff", b"/tmp/none")}


def counts_the_disk_of_others(data, context):
    return {"acct": syscall("acct", b"/tmp/none"), "quotactl": syscall("quotactl", 0x800007 << 8, 0, 0, 0)}


def reads_the_log_of_the_kernel(data, context):
    buffer = ctypes.create_string_buffer(4096)
    return {str(action): syscall("syslog", action, buffer, 4096) for action in (2, 3, 4, 5, 6, 8, 9, 10)}


def uses_ports_and_segments_of_the_processor(data, context):
    return {
        "iopl": syscall("iopl", 3),
        "ioperm": syscall("ioperm", 0x70, 2, 1),
        "modify_ldt": syscall("modify_ldt", 1, bytes(16), 16),
    }


def sets_the_clock(data, context):
    return {
        "settimeofday": syscall("settimeofday", struct.pack("qq", 0, 0), 0),
        "clock_settime": syscall("clock_settime", 0, struct.pack("qq", 0, 0)),
        "clock_adjtime": syscall("clock_adjtime", 0, struct.pack("I", 0x8000) + bytes(252)),
        "adjtimex": syscall("adjtimex", struct.pack("I", 0x4000) + bytes(252)),
    }


def changes_the_name_of_the_host(data, context):
    return {"sethostname": syscall("sethostname", b"attack", 6), "setdomainname": syscall("setdomainname", b"attack", 6)}


def makes_objects_of_system_v(data, context):
    def shared_memory():
        number = raw(CALLS["shmget"][COLUMN], 0, 4096, 0o1600)
        if isinstance(number, int):
            libc.shmctl(number, 0, None)
            return "done"
        return number

    def semaphore():
        number = raw(CALLS["semget"][COLUMN], 0, 1, 0o1600)
        if isinstance(number, int):
            libc.semctl(number, 0, 0)
            return "done"
        return number

    def queue():
        number = raw(CALLS["msgget"][COLUMN], 0, 0o1600)
        if isinstance(number, int):
            libc.msgctl(number, 0, None)
            return "done"
        return number

    return {"shmget": shared_memory(), "semget": semaphore(), "msgget": queue()}


def makes_a_message_queue(data, context):
    # Without O_CREAT: outside there is none of that name.
    return {"mq_open": syscall("mq_open", b"attack", 0, 0, 0)}


def places_memory_of_others(data, context):
    return {
        "set_mempolicy": syscall("set_mempolicy", 0, 0, 0),
        "mbind": syscall("mbind", 0, 4096, 0, 0, 0, 0),
        "migrate_pages": syscall("migrate_pages", os.getppid(), 8, bytes(8), bytes(8)),
        "move_pages": syscall("move_pages", os.getppid(), 0, 0, 0, 0, 0),
    }


def makes_memory_predictable(data, context):
    return {"personality": alone(lambda: syscall("personality", 0x40000))}


def becomes_root(data, context):
    told = {
        "setuid": outcome(os.setuid, 0),
        "setgid": outcome(os.setgid, 0),
        "setresuid": outcome(os.setresuid, 0, 0, 0),
        "seteuid": outcome(os.seteuid, 0),
        "setreuid": outcome(os.setreuid, -1, 65534),
        "setgroups": outcome(os.setgroups, [0]),
        "no groups": outcome(os.setgroups, []),
    }
    return {"calls": told, "user": list(os.getresuid())}


def gains_a_capability(data, context):
    everything = struct.pack("6I", *[0xFFFFFFFF] * 6)
    header = struct.pack("Ii", 0x20080522, 0)
    told = {
        "capset": syscall("capset", header, everything),
        "ambient": syscall("prctl", 47, 2, 21, 0, 0),
        "bounding set": syscall("prctl", 24, 21, 0, 0, 0),
        "keep": syscall("prctl", 28, 1 << 4, 0, 0, 0),
        "map again": outcome(map_again),
        "file capability": outcome(file_capability),
    }
    lines = read("/proc/self/status").decode().splitlines()
    sets = sorted({line.split()[1] for line in lines if line.startswith("Cap")})
    return {"calls": told, "sets": sets}


def map_again():
    # The file belongs to root unless the process may be looked into, which it can allow for itself.
    syscall("prctl", 4, 1)
    os.write(os.open("/proc/self/uid_map", os.O_WRONLY), b"0 0 1")


def file_capability():
    with open("/tmp/file", "w"):
        pass
    os.setxattr("/tmp/file", "security.capability", struct.pack("5I", 0x02000001, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0))


def takes_its_own_locks_off(data, context):
    told = {
        "no_new_privs": syscall("prctl", 38, 0, 0, 0, 0),
        "seccomp off": syscall("prctl", 22, 0, 0, 0, 0),
        "seccomp strict": syscall("prctl", 22, 1 << 5, 0, 0, 0),
        "executable": syscall("prctl", 35, 13, 3, 0, 0),
        "memory map": syscall("prctl", 35, 8, 4096, 0, 0),
    }
    for name in ("NOFILE", "NPROC", "FSIZE", "CORE", "MEMLOCK", "RTPRIO", "DATA"):
        number = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(number)[1]
        try:
            resource.setrlimit(number, (hard + 1, hard + 1))
            told[name] = "done"
        except (ValueError, OSError):
            told[name] = "EPERM"
    wanted = ("NoNewPrivs", "Seccomp", "Seccomp_filters")
    lines = [line.split(":") for line in read("/proc/self/status").decode().splitlines()]
    return {"calls": told, "state": {name: value.strip() for name, value in (line[:2] for line in lines) if name in wanted}}


def machine_code(code):
    """Runs machine code in a child."""

    def run():
        memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
        return "done"

    return in_child(run)


def calls_as_a_32_bit_program(data, context):
    if os.uname().machine != "x86_64":
        return {"32 bit": "absent", "64 bit": "done"}
    # getpid: `mov eax, 20; int 0x80; ret`, and `mov eax, 39; syscall; ret`.
    return {
        "32 bit": machine_code(bytes.fromhex("b814000000cd80c3")),
        "64 bit": machine_code(bytes.fromhex("b8270000000f05c3")),
    }


def calls_by_the_numbers_of_x32(data, context):
    bit = 0x40000000
    told = {str(number): raw(bit + number, 0, 0, 0) for number in (39, 56, 101, 165, 272, 520, 521, 545)}
    return {number: "done" if isinstance(came, int) else came for number, came in told.items()}


def hides_an_argument_in_the_upper_half(data, context):
    high = 1 << 32
    return {
        "raw socket": result(raw, *socket_call(2 | high, 3 | high, 1)),
        "packet socket": result(raw, *socket_call(17 | high, 3, 0)),
        "terminal": syscall("ioctl", 0, 0x5412 | high, bytes(1)),
        "clone": cloned(NEWUSER | high),
        "personality": syscall("personality", 0x40000 | high),
    }


def socket_call(*arguments):
    return ({"x86_64": 41, "aarch64": 198}[os.uname().machine], *arguments)


def result(function, *arguments):
    came = function(*arguments)
    return "done" if isinstance(came, int) else came


def uses_calls_that_nobody_allowed(data, context):
    """Numbers of newer kernels, of old architectures, and of none."""
    answered, tried = [], 0
    for number in [*range(443, 600), *range(1000, 1100), 2**30 - 1, 2**31 - 1]:
        if number in (444, 445, 446, 449):  # landlock_*, futex_waitv
            continue
        tried += 1
        if (came := raw(number, -1, 0, 0, 0, 0, 0)) not in ("ENOSYS", "EPERM"):
            answered.append([number, came])
    for name in ("io_setup", "statmount", "listmount"):
        if syscall(name, -1, 0, 0, 0, 0) != "ENOSYS":
            answered.append(name)
    return {"answered": answered, "tried": tried}


def dumps_a_core_on_the_host(data, context):
    """A program of its own crashes, which unlike this process could be dumped."""
    started = subprocess.Popen([sys.executable, "-I", "-c", "import time; time.sleep(60)"])
    started.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(started.pid, 0)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        raised = "done"
    except (ValueError, OSError) as error:
        raised = type(error).__name__
    return {"signal": os.WTERMSIG(status), "core": os.WCOREDUMP(status), "files": entries("/tmp"), "raised": raised}
