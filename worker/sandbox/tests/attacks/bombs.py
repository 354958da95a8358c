"""Attacks that use something up: processes, descriptors, disk, output, processor time."""


def forks_without_end(data, context):
    while True:
        try:
            os.fork()
        except OSError:
            pass


def forks_and_dies_without_end(data, context):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        try:
            if os.fork() and os.getpid() % 2:
                os.setsid()
        except OSError:
            pass


def starts_threads_without_end(data, context):
    threading.stack_size(64 * 1024)
    started = 0
    try:
        while True:
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            started += 1
    except RuntimeError:
        return started


def leaves_zombies_without_end(data, context):
    made = 0
    try:
        while True:
            if os.fork() == 0:
                os._exit(0)
            made += 1
    except OSError:
        return made


def fill(directory):
    written = 0
    piece = bytes(1024 * 1024)
    try:
        for number in range(10):
            with open(f"{directory}/{number}", "wb", buffering=0) as file:
                while written < (number + 1) * 30 * len(piece):
                    written += file.write(piece)
    except OSError as error:
        return {"error": named(error.errno), "mib": written // len(piece)}
    return {"error": "none", "mib": written // len(piece)}


def fills_the_disk(data, context):
    return {directory: fill(directory) for directory in ("/tmp", "/dev/shm")}


def fills_the_disk_with_files(data, context):
    told = {}
    for directory in ("/tmp", "/dev/shm"):
        made = 0
        try:
            while True:
                os.symlink("x" * 1000, f"{directory}/{made}")
                made += 1
        except OSError as error:
            told[directory] = {"error": named(error.errno), "files": made}
    return told


def makes_a_file_that_is_too_large(data, context):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = os.open("/tmp/large", os.O_CREAT | os.O_RDWR)
    return {
        "sparse": outcome(os.pwrite, file, b"x", 1 << 40),
        "truncated": outcome(os.truncate, file, 1 << 40),
        "allocated": outcome(os.posix_fallocate, file, 0, 1 << 40),
    }


def opens_descriptors_without_end(data, context):
    opened = 0
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
            opened += 1
    except OSError as error:
        return {"opened": opened, "error": named(error.errno)}


def keeps_descriptors_under_way(data, context):
    sent, kept = 0, []
    try:
        while True:
            ours, theirs = socket.socketpair()
            kept += [ours, theirs]
            socket.send_fds(ours, [b"x"], [0] * 250)
            sent += 250
    except OSError as error:
        told = {"sent": sent, "error": named(error.errno)}
    time.sleep(data.get("seconds", 0))
    return told


def prints_without_end(data, context):
    while True:
        print("x" * 99)


def prints_one_endless_line(data, context):
    while True:
        sys.stdout.write("x" * 1000)


def writes_to_its_standard_error_from_many_processes(data, context):
    for _ in range(6):
        os.fork()
    while True:
        os.write(2, b"x" * 4096)


def logs_without_end(data, context):
    import logging

    while True:
        logging.error("x" * 99)


def yields_without_end(data, context):
    for number in itertools.count():
        yield number


def yields_what_is_too_large(data, context):
    yield "x" * 1_000_000


def returns_what_is_too_large(data, context):
    return ["x" * 100] * 100_000


def returns_what_is_too_deep(data, context):
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def raises_an_endless_message(data, context):
    raise ValueError("x" * 50_000_000)


def raises_an_endless_chain(data, context):
    error = ValueError("x" * 1000)
    for _ in range(20_000):
        following = ValueError("x" * 1000)
        following.__cause__ = error
        error = following
    raise error


def matches_a_pattern_without_end(data, context):
    import re

    return bool(re.match(r"(a+)+$", "a" * 40 + "b"))


def computes_without_end(data, context):
    while True:
        pass


def sleeps_without_end(data, context):
    while True:
        try:
            forever()
        except BaseException:
            pass


def blocks_in_c(data, context):
    """Holds Python's lock: no other thread of this process ever runs again."""
    ctypes.PyDLL(None).pause()
    ctypes.PyDLL(None).sleep(600)


def ignores_the_limit_of_its_processor_time(data, context):
    soft, _ = resource.getrlimit(resource.RLIMIT_CPU)

    def burn():
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        # What is used already counts; a limit in the past kills at the hard one.
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
        while True:
            pass

    return {"soft": soft, "child": in_child(burn)}


def takes_every_processor(data, context):
    for _ in range(100):
        try:
            if os.fork() == 0:
                os.setsid()
                break
        except OSError:
            break
    while True:
        pass


def reports_progress_without_end(data, context):
    while True:
        context.progress(0.5, "x" * 1000)


def imports_without_end(data, context):
    """A module that imports the next one, and so on."""
    sys.path.insert(0, "/tmp")
    for number in range(2000):
        with open(f"/tmp/m{number}.py", "w") as file:
            file.write(f"import m{number + 1}\n")
    try:
        import m0
    except (ImportError, RecursionError) as error:
        return type(error).__name__
