"""Attacks on the next call: what a call leaves behind in its process, its slot and its directories."""


def leaves_a_thread(data, context):
    for _ in range(5):
        threading.Thread(target=forever_here).start()
    return f"{threading.active_count() - 1} threads"


def forever_here():
    while True:
        time.sleep(0.01)


def leaves_a_timer(data, context):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    threading.Timer(0.1, os._exit, (3,)).start()
    libc.timer_create(0, None, ctypes.byref(ctypes.c_void_p()))
    return "timers"


def leaves_an_exit_hook(data, context):
    import atexit
    import weakref

    class Thing:
        pass

    global thing
    thing = Thing()
    atexit.register(time.sleep, 600)
    weakref.finalize(thing, time.sleep, 600)
    threading._register_atexit(time.sleep, 600)
    return "hooks"


def leaves_changed_modules(data, context):
    import types

    sys.modules["attack"] = types.ModuleType("attack")
    sys.modules["hashlib"] = sys.modules["attack"]
    del sys.modules["csv"]
    sys.path.insert(0, "/tmp")
    sys.meta_path.clear()
    sys.path_hooks.clear()
    os.path.exists = lambda path: True
    time.time = lambda: 0
    return "changed"


def leaves_a_patched_json(data, context):
    json.dumps = lambda *arguments, **more: '"patched"'
    json.loads = lambda *arguments, **more: {"patched": True}
    json.encoder.JSONEncoder.encode = lambda *arguments: '"patched"'
    return "original"


def leaves_patched_builtins(data, context):
    import builtins

    builtins.attack = 1
    builtins.len = lambda thing: 0
    builtins.open = None
    builtins.isinstance = lambda thing, kind: True
    builtins.BaseException = int
    return "original"


def leaves_a_patched_runner(data, context):
    from gc import get_objects

    for thing in get_objects():
        name = type(thing).__name__
        if name in ("Channel", "Log", "Template", "Capture"):
            thing.__class__.send = lambda *arguments: True
            thing.__dict__.clear()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("sortie_runner"):
            module.__dict__.clear()


def leaves_another_environment(data, context):
    os.environ.clear()
    os.environ["ATTACK"] = "1"
    os.putenv("LD_PRELOAD", "/tmp/attack.so")
    os.chdir("/usr")
    os.umask(0o777)
    sys.argv[:] = ["attack"]
    import locale

    locale.setlocale(locale.LC_ALL, "C")
    return "changed"


def leaves_signal_handlers_and_masks(data, context):
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    return "changed"


def leaves_lower_limits(data, context):
    for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_STACK, resource.RLIMIT_MEMLOCK):
        resource.setrlimit(number, (64 * 1024, 64 * 1024) if number == resource.RLIMIT_STACK else (20, 20))
    return "changed"


def leaves_files(data, context):
    for directory in ("/tmp", "/dev/shm"):
        for number in range(500):
            with open(f"{directory}/{number}", "w") as file:
                file.write("left")
        os.makedirs(f"{directory}/.hidden/below")
    return "1000 files"


def leaves_unreadable_directories(data, context):
    for top in ("/tmp", "/dev/shm"):
        for mode in (0o000, 0o111, 0o333, 0o444, 0o555):
            below = f"{top}/{mode:o}/x/y"
            os.makedirs(below)
            with open(f"{below}/file", "w"):
                pass
            os.chmod(f"{below}/file", 0)
            for path in (below, os.path.dirname(below), os.path.dirname(os.path.dirname(below))):
                os.chmod(path, mode)
    return "locked"


def leaves_directories_within_directories(data, context):
    """Deeper than a path can be, or than a program can recurse or hold open."""
    levels = 10_000
    os.chdir("/tmp")
    for _ in range(levels):
        os.mkdir("d")
        os.chdir("d")
    with open("file", "w"):
        pass
    os.chmod(".", 0)
    return f"{levels} levels"


def leaves_names_that_are_no_text(data, context):
    for name in (b"\xff\xfe", b"\n", b" ", b"-rf", b"*", b"..x", b"a" * 255, "é".encode(), "\u202e".encode(), b"\\", b"\x01"):
        os.mkdir(b"/tmp/" + name)
        with open(b"/tmp/" + name + b"/" + name, "w"):
            pass
    return "named"


def fill(path):
    try:
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1024 * 1024))
    except OSError as error:
        return named(error.errno)


def leaves_a_full_tmp(data, context):
    ends = []
    for directory in ("/tmp", "/dev/shm"):
        ends += [fill(f"{directory}/{number}") for number in range(4)]
    return "full" if "ENOSPC" in ends else str(ends)


def leaves_more_files_than_fit(data, context):
    ends = []
    for directory in ("/tmp", "/dev/shm"):
        try:
            for number in range(1_000_000):
                os.close(os.open(f"{directory}/{number}", os.O_CREAT | os.O_WRONLY))
        except OSError as error:
            ends.append(named(error.errno))
    return "full" if ends == ["ENOSPC"] * 2 else str(ends)


def leaves_a_file_that_is_deleted_but_open(data, context):
    def body():
        forever()

    for number in range(3):
        file = open(f"/tmp/{number}", "wb", buffering=0)
        file.write(bytes(8 * 1024 * 1024))
        os.unlink(f"/tmp/{number}")
        globals()[f"kept{number}"] = file
    daemon(body)
    return "hidden"


def leaves_a_closed_tmp(data, context):
    os.mkdir("/tmp/directory")
    for directory in ("/tmp", "/dev/shm"):
        os.chmod(directory, 0)
    return "closed"


ATTRIBUTES = ("user.attack", "system.posix_acl_default", "system.posix_acl_access")


def leaves_attributes_on_tmp(data, context):
    if data["step"] == "find":
        return [(place, name) for place in ("/tmp", "/dev/shm") for name in os.listxattr(place)]
    # user::rwx, group::---, mask, other::---, and an entry for another user.
    entries = [(1, 7, 0xFFFFFFFF), (2, 7, 1000), (4, 0, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
    access = struct.pack("I", 2) + b"".join(struct.pack("HHI", *entry) for entry in entries)
    left = 0
    for place in ("/tmp", "/dev/shm"):
        for name in ATTRIBUTES:
            left += outcome(os.setxattr, place, name, b"a message" if name.startswith("user") else access) == "done"
    return left


def leaves_a_message_in_the_times_of_tmp(data, context):
    if data["step"] == "leave":
        for place in ("/tmp", "/dev/shm"):
            os.utime(place, (data["message"], data["message"]))
    told = [os.stat(place) for place in ("/tmp", "/dev/shm")]
    return [int(one.st_mtime) for one in told] if data["step"] == "leave" else [int(time) for one in told for time in (one.st_mtime, one.st_atime)]


FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602


def leaves_flags_on_tmp(data, context):
    told = []
    for place in ("/tmp", "/dev/shm"):
        directory = os.open(place, os.O_RDONLY)
        if data["step"] == "leave":
            # Append only, immutable, not to be dumped, no times.
            for flag in (0x20, 0x10, 0x40, 0x80):
                told.append(outcome(fcntl.ioctl, directory, FS_IOC_SETFLAGS, struct.pack("Q", flag)))
        else:
            try:
                told.append(struct.unpack("Q", fcntl.ioctl(directory, FS_IOC_GETFLAGS, bytes(8)))[0])
            except OSError as error:
                told.append(named(error.errno))
    return told


def leaves_pipes_and_sockets_as_files(data, context):
    os.mkfifo("/tmp/pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind("/tmp/socket")
    os.mkdir("/tmp/locked")
    os.mkfifo("/tmp/locked/pipe", 0)
    os.chmod("/tmp/locked", 0)
    return "made"


def leaves_shared_memory(data, context):
    from multiprocessing import shared_memory

    shared_memory.SharedMemory("attack", create=True, size=1024 * 1024)
    semaphore = libc.sem_open
    semaphore.restype = ctypes.c_void_p
    semaphore(b"/attack", os.O_CREAT, 0o600, 1)
    return "shared" if len(os.listdir("/dev/shm")) >= 1 else "none"


LOCKED = ("/etc/passwd", "/sortie/filters.bpf", os.__file__)


def leaves_locks(data, context):
    """Files that all slots share can be locked by whoever reads them."""
    if data["step"] == "try":
        ends = [outcome(fcntl.flock, open(path), fcntl.LOCK_EX | fcntl.LOCK_NB) for path in LOCKED]
        return "free" if set(ends) == {"done"} else str(ends)
    files = [open(path) for path in LOCKED]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    daemon(forever)
    return "locked"


def leaves_a_listening_server(data, context):
    if data["step"] == "listen":
        server = socket.create_server(("127.0.0.1", 0))
        daemon(lambda: [server.accept() for _ in itertools.count()])
        return server.getsockname()[1]
    connecting = _socket.socket()
    binding = socket.socket()
    return {
        "connect": outcome(connecting.connect, ("127.0.0.1", data["port"])),
        "bind": outcome(binding.bind, ("127.0.0.1", data["port"])),
    }


def leaves_an_abstract_socket(data, context):
    if data["step"] == "listen":
        server = socket.socket(socket.AF_UNIX)
        came = outcome(server.bind, "\0attack")
        server.listen(1)
        daemon(forever)
        return came
    return outcome(socket.socket(socket.AF_UNIX).connect, "\0attack")


def leaves_a_connection_to_the_gate(data, context):
    connections = [socket.create_connection(("open.test", data["port"])) for _ in range(50)]
    daemon(forever)
    globals()["kept"] = connections
    return "open"


def leaves_other_scheduling(data, context):
    os.nice(19)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    return "nice"


def leaves_a_module_beside_the_next_call(data, context):
    """Names that the next call imports, where its directory is in the import path."""
    for name in ("json", "requests", "handler", "sitecustomize", "usercustomize", "sortie_runner", "os", "hashlib"):
        with open(f"/tmp/{name}.py", "w") as file:
            file.write("raise SystemExit('hijacked')\n")
    sys.path.insert(0, "/tmp")
    os.makedirs("/tmp/.local/lib/python3.12/site-packages")
    return "imported"


def leaves_a_new_session(data, context):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    return "elsewhere"


kept_here = "nothing"


def leaves_a_warm_process_to_another_action(data, context):
    global kept_here
    if data["step"] == "leave":
        kept_here = "left behind"
        return 1
    return kept_here


calls = 0


def leaves_a_thread_in_a_warm_process(data, context):
    global calls
    calls += 1
    if data["step"] == "counted":
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    if data["step"] == "not counted":
        import _thread

        _thread.start_new_thread(time.sleep, (600,))
    return calls
