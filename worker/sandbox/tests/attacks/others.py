"""Attacks on other calls and slots: their files, memory, processes, secrets."""


def is_victim(data):
    return data["role"] == "victim"


def wait(data):
    time.sleep(data["seconds"])


def reads_the_files_of_another_slot(data, context):
    places = ("/tmp", "/dev/shm")
    if is_victim(data):
        for place in places:
            with open(f"{place}/secret", "w") as file:
                file.write("mine")
            os.chmod(f"{place}/secret", 0o666)
        wait(data)
        return {place: read(f"{place}/secret").decode() for place in places}
    found = [os.path.join(place, name) for place in places for name in entries(place)]
    for pid in range(1, 5000):
        for way in ("root", "cwd"):
            for place in places:
                if outcome(read, f"/proc/{pid}/{way}{place}/secret") == "done":
                    found.append(pid)
    for place in places:
        with open(f"{place}/secret", "w") as file:
            file.write("of the attacker")
    return found


def search(halves):
    first, second = (half.encode() for half in halves)
    found = 0
    syscall("prctl", 4, 1)
    for pid in processes():
        try:
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                for line in maps.read().splitlines():
                    start, end = (int(number, 16) for number in line.split()[0].split("-"))
                    if "rw" not in line.split()[1]:
                        continue
                    try:
                        memory.seek(start)
                        piece = memory.read(end - start)
                    except (OSError, OverflowError):
                        continue
                    at = piece.find(first)
                    while at >= 0:
                        found += piece.startswith(second, at + len(first))
                        at = piece.find(first, at + 1)
        except OSError:
            pass
    return found


def reads_the_memory_of_another_slot(data, context):
    if is_victim(data):
        kept = "".join(data["halves"])
        wait(data)
        return search(data["halves"]) + kept.count("x")
    return {"found": search(data["halves"])}


def sees_the_processes_of_another_slot(data, context):
    if is_victim(data):
        for _ in range(4):
            daemon(forever)
        wait(data)
    return len(processes())


def signals_the_processes_of_another_slot(data, context):
    if is_victim(data):
        wait(data)
        return "unharmed"
    mine = os.getpid()
    return [pid for pid in range(1, 40000) if pid != mine and outcome(os.kill, pid, signal.SIGKILL) != "ESRCH"]


def direct(host, port, family=2):
    own = _socket.socket(family, 1)
    own.settimeout(1)
    return outcome(own.connect, (host, port))


def connects_to_a_server_of_another_slot(data, context):
    if is_victim(data):
        server = _socket.socket(2, 1)
        server.bind(("0.0.0.0", data["port"]))
        server.listen(10)
        own = direct("127.0.0.1", data["port"])
        server._accept()
        server.settimeout(data["seconds"])
        others = 0
        try:
            server._accept()
            others = 1
        except TimeoutError:
            pass
        return {"own": own, "others": others}
    return {host: direct(host, data["port"]) for host in ("127.0.0.1", "0.0.0.0", "127.0.0.2", "10.0.0.1", "169.254.0.1")}


def connects_to_an_abstract_socket_of_another_slot(data, context):
    if is_victim(data):
        server = _socket.socket(1, 1)
        server.bind("\0attack")
        server.listen(1)
        wait(data)
    return outcome(_socket.socket(1, 1).connect, "\0attack")


def uses_the_gate_of_another_slot(data, context):
    port = int(os.environ["http_proxy"].rpartition(":")[2])
    if is_victim(data):
        wait(data)
        return port
    return {"own": port, "open": sum(answers(number) for number in range(1, 65536))}


def answers(port):
    own = _socket.socket(2, 1)
    # A socket whose own port happens to be this one connects to itself.
    came = outcome(own.connect, ("127.0.0.1", port)) == "done" and own.getsockname() != own.getpeername()
    own.close()
    return came


def uses_up_what_another_slot_may_have(data, context):
    if is_victim(data):
        try:
            while True:
                if os.fork() == 0:
                    forever()
        except OSError:
            pass
        try:
            while True:
                os.open("/dev/null", os.O_RDONLY)
        except OSError:
            pass
        wait(data)
        return "used up"

    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def thread():
        other = threading.Thread(target=time.sleep, args=(0,))
        other.start()
        other.join()

    def passing():
        ours, theirs = socket.socketpair()
        socket.send_fds(ours, [b"x"], [0])
        socket.recv_fds(theirs, 1, 1)

    def waiting():
        select.epoll().register(os.pipe()[0], select.EPOLLIN)

    return {
        "process": outcome(fork),
        "thread": outcome(thread),
        "file": outcome(os.mkdir, "/tmp/directory"),
        "passing": outcome(passing),
        "waiting": outcome(waiting),
        "pipe": outcome(os.pipe),
    }


def leaves_its_message_in_a_lock(data, context):
    if is_victim(data):
        with open("/etc/passwd") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            # The other kind belongs to no process, but to the open file: struct flock of a shared one, F_OFD_SETLK.
            fcntl.fcntl(file, 37, struct.pack("hh4xqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))
            wait(data)
    return read("/proc/locks").decode().splitlines() if os.path.exists("/proc/locks") else []


def finds_the_secret_of_another_call(data, context):
    if is_victim(data):
        wait(data)
        if "TOKEN" not in context.secrets:
            raise LookupError("no secret was given")
    return {"found": search(data["halves"])}
