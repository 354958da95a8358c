"""Attacks on memory: bombs of every kind, buffers of the kernel, what others have in theirs."""

MIB = 1024 * 1024


def takes_private_memory(data, context):
    hoard = []
    while True:
        hoard.append(bytearray(MIB))


def mapped(flags, size):
    return mmap.mmap(-1, size, flags | mmap.MAP_ANONYMOUS)


def touch(memory):
    for at in range(0, len(memory), 4096):
        memory[at] = 1


def takes_shared_memory(data, context):
    """Memory that the limit of a process doesn't count."""
    hoard = []
    while True:
        hoard.append(mapped(mmap.MAP_SHARED, 8 * MIB))
        touch(hoard[-1])


def takes_memory_in_many_processes(data, context):
    """Each of them has less than it may have."""
    for _ in range(60):
        if os.fork() == 0:
            hoard = bytearray(60 * MIB)
            touch(hoard)
            forever()
    forever()


def takes_memory_in_many_threads(data, context):
    started = threading.Event()

    def take():
        hoard = []
        started.wait()
        while True:
            hoard.append(bytearray(MIB))

    threading.stack_size(64 * 1024)
    for _ in range(50):
        threading.Thread(target=take, daemon=True).start()
    started.set()
    take()


def takes_memory_in_files_that_are_mapped(data, context):
    """The same 64 MiB count once; so every process has a file of its own, deleted and mapped."""
    hoard = []
    for directory in ("/tmp", "/dev/shm"):
        for number in range(3):
            file = os.open(f"{directory}/{number}", os.O_CREAT | os.O_RDWR)
            os.unlink(f"{directory}/{number}")
            os.ftruncate(file, 30 * MIB)
            hoard.append(mmap.mmap(file, 30 * MIB))
            try:
                for at in range(0, 30 * MIB, 4096):
                    hoard[-1][at] = 1
            except BaseException:
                pass
            if number == 1:
                break
    # What is left of the memory that may be had, privately.
    hoard.append(bytearray(90 * MIB))
    touch(hoard[-1])
    forever()


def takes_memory_for_page_tables(data, context):
    """Every 2 MiB that something is read of cost a page for their table, and nothing that counts as ours."""
    libc.mmap.restype = ctypes.c_void_p
    read_only, private, no_reserve = 1, 2 | 0x20, 0x4000
    size = 1 << 40
    hoard = []
    while True:
        start = libc.mmap(None, ctypes.c_size_t(size), read_only, private | no_reserve, -1, ctypes.c_long(0))
        if start in (None, 2**64 - 1):
            forever()
        # No huge pages, which need no table.
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), 15)
        hoard.append(start)
        for at in range(0, size, 2 * MIB):
            ctypes.c_byte.from_address(start + at).value


def takes_memory_by_executing_programs(data, context):
    program = "hoard = []\nwhile True: hoard.append(bytearray(1 << 20))"
    for _ in range(20):
        subprocess.Popen([sys.executable, "-I", "-c", program + "\n"], stderr=subprocess.DEVNULL)
    hold = "import time; hoard = bytearray(50 << 20); hoard[::4096] = b'x' * len(hoard[::4096]); time.sleep(60)"
    for _ in range(20):
        subprocess.Popen([sys.executable, "-I", "-c", hold])
    forever()


def takes_memory_in_secret_files(data, context):
    return {
        "memfd_create": syscall("memfd_create", b"attack", 0),
        "huge pages": syscall("memfd_create", b"attack", 4),
        "memfd_secret": syscall("memfd_secret", 0),
    }


def takes_memory_as_a_daemon(data, context):
    def body():
        hoard = []
        while True:
            hoard.append(mapped(mmap.MAP_SHARED, 8 * MIB))
            touch(hoard[-1])

    daemon(body)
    forever()


def locks_memory(data, context):
    locked, hoard = 0, []
    while locked < 64 * MIB:
        hoard.append(mapped(mmap.MAP_PRIVATE, MIB))
        address = ctypes.addressof(ctypes.c_char.from_buffer(hoard[-1]))
        if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(MIB)) != 0:
            break
        locked += MIB
    return {"locked": locked, "all": {str(flags): syscall("mlockall", flags) for flags in (1, 2, 3)}}


def unpacks_a_bomb(data, context):
    """320 MB in a few KB: zeros, compressed twice. Lightly, because packing them is what takes its time."""
    import io
    import zipfile
    import zlib

    packer = zlib.compressobj(1)
    piece = bytes(16 * MIB)
    once = b"".join(packer.compress(piece) for _ in range(20)) + packer.flush()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", once)
    with zipfile.ZipFile(file) as archive:
        return len(zlib.decompress(archive.read("bomb")))


def unpacks_a_bomb_of_xml(data, context):
    import xml.etree.ElementTree as tree

    entities = '<!ENTITY l0 "' + "lol" * 1000 + '">'
    for level in range(1, 10):
        entities += f'<!ENTITY l{level} "' + f"&l{level - 1};" * 10 + '">'
    return len(tree.fromstring(f"<!DOCTYPE x [{entities}]><x>&l9;</x>").text)


def makes_a_large_number(data, context):
    return len(str(10 ** (10**10)))


def makes_a_large_text(data, context):
    return len("x" * (1 << 33))


def recurses_in_python(data, context):
    sys.setrecursionlimit(2**31 - 1)
    threading.stack_size(64 * MIB)

    class Endless:
        def __repr__(self):
            return repr([self])

    return repr(Endless())


def recurses_in_c(data, context):
    """Machine code that calls itself: no limit of Python's is met."""
    code = {"x86_64": "e8fbffffff", "aarch64": "fd7bbfa9ffffff97"}[os.uname().machine]
    memory = mapped_code(bytes.fromhex(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()


def mapped_code(code):
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    return memory


def fills_the_buffers_of_sockets(data, context):
    """Memory of the kernel's, which counts for no process."""
    for _ in range(100):
        if os.fork() == 0:
            fill_sockets()
            forever()
    forever()


def fill_sockets():
    kept = []
    try:
        while True:
            pair = socket.socketpair()
            kept.append(pair)
            for end in pair:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
                end.setblocking(False)
                try:
                    while True:
                        end.send(bytes(65536))
                except BlockingIOError:
                    pass
    except OSError:
        globals()["kept"] = kept


def fills_the_buffers_of_pipes(data, context):
    """The same with pipes, in 30 processes; tells how much they hold."""
    ours, theirs = os.pipe()
    for _ in range(30):
        if os.fork() == 0:
            os.write(theirs, struct.pack("Q", fill_pipes()))
            forever()
    return {"filled": sum(struct.unpack("Q", os.read(ours, 8))[0] for _ in range(30))}


def fill_pipes():
    filled, piece = 0, bytes(4096)
    try:
        while True:
            out, into = os.pipe()
            os.set_blocking(into, False)
            try:
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, MIB)
            except OSError:
                pass
            try:
                while True:
                    filled += os.write(into, piece)
            except BlockingIOError:
                pass
    except OSError:
        return filled


def queues_signals(data, context):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
    queued = 0
    value = struct.pack("iiiiiiP", signal.SIGRTMIN, 0, -1, 0, os.getpid(), 1000, 0).ljust(128, b"\0")
    number = {"x86_64": 129, "aarch64": 138}[os.uname().machine]
    while queued < 200_000 and isinstance(raw(number, os.getpid(), int(signal.SIGRTMIN), value), int):
        queued += 1
    return queued


def has_the_kernel_kill_the_worker_for_want_of_memory(data, context):
    return {"own": int(read("/proc/self/oom_score_adj")), "template": int(read("/proc/1/oom_score_adj"))}
