"""Attacks on files: reading the host's, writing outside of the private directories, links, mounts, devices."""


def reads_a_file_of_the_host(data, context):
    try:
        return read(data["path"]).decode()
    except OSError as error:
        return named(error.errno)


def reads_the_password_files_of_the_host(data, context):
    users = [line.partition(b":")[0].decode() for line in read("/etc/passwd").splitlines()]
    secret = ("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/ssh_host_ed25519_key", "/etc/machine-id")
    return {"users": users, "shadow": {path: outcome(read, path) for path in secret}}


def lists_the_directories_of_the_host(data, context):
    """Only what leads to the Python is there of them."""
    roots = [os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)] + [sys.prefix, sys.base_prefix]
    told = {}
    for top in ("/root", "/home", "/var", "/run", "/sys", "/boot", "/srv", "/opt", "/mnt", "/media", "/lost+found", "/work"):
        try:
            names = os.listdir(top)
        except OSError as error:
            told[top] = named(error.errno)
            continue
        strangers = [name for name in names if not any((root + "/").startswith(f"{top}/{name}/") for root in roots)]
        told[top] = "files" if strangers else "only the way to Python"
    return told


def climbs_out_of_the_root(data, context):
    told = {}
    up = "../" * 60
    told["a long way up"] = outcome(read, up + data["path"])
    root = os.open("/", os.O_RDONLY)
    told["from a descriptor of the root"] = outcome(os.open, up + data["path"], os.O_RDONLY, dir_fd=root)
    told["by the root of this process"] = outcome(read, f"/proc/self/root/{up}{data['path']}")
    os.fchdir(root)
    for _ in range(60):
        os.chdir("..")
    told["step by step"] = outcome(read, data["path"])
    return told


def reads_through_the_root_of_other_processes(data, context):
    told = {}
    for pid in range(1, 2000):
        if pid == os.getpid():
            continue
        for way in ("root", "cwd"):
            if (came := outcome(read, f"/proc/{pid}/{way}{data['path']}")) != "ENOENT" or pid == 1:
                told[f"{pid}/{way}"] = came
    return told


def reads_the_environment_of_the_worker(data, context):
    ours = {"HOME", "LANG", "PATH", "TMPDIR"} | {
        name for proxy in ("http_proxy", "https_proxy", "no_proxy") for name in (proxy, proxy.upper())
    }
    others = []
    for pid in processes():
        try:
            words = read(f"/proc/{pid}/environ").split(b"\0")
        except OSError:
            continue
        others += [word.decode() for word in words if word and word.partition(b"=")[0].decode() not in ours]
    return {
        "own": sorted(set(os.environ) - ours),
        "others": others,
        "template": outcome(read, "/proc/1/environ"),
    }


def search(halves):
    """How often a word is in our memory, which was the template's and the master's; and how much that is. The word
    comes in two halves, so that the search doesn't find itself."""
    first, second = halves
    found = size = 0
    # The process may be looked into again: it can allow that for itself.
    syscall("prctl", 4, 1)
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps.read().splitlines():
            place, rights = line.split()[:2]
            if not rights.startswith("r") or line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            start, end = (int(number, 16) for number in place.split("-"))
            try:
                memory.seek(start)
                piece = memory.read(end - start)
            except (OSError, OverflowError):
                continue
            size += len(piece)
            at = piece.find(first)
            while at >= 0:
                found += piece.startswith(second, at + len(first))
                at = piece.find(first, at + 1)
            del piece
    return found, size


def finds_the_environment_of_the_worker_in_memory(data, context):
    found, size = search((b"SORTIE_TEST_", b"PYTHON="))
    control, _ = search((b"sortie_", b"runner"))
    return {"found": found, "control": control, "searched": size}


def finds_the_secrets_of_another_action_in_memory(data, context):
    found, size = search([half.encode() for half in data["halves"]])
    return {"found": found, "searched": size, "secrets": sorted(context.secrets)}


def writes_anywhere_but_tmp(data, context):
    """Tries to make a file in every directory, and to open every file for writing."""
    written, tried = [], 0
    for top, directories, files in os.walk("/"):
        if top == "/":
            directories.remove("proc")
        directories[:] = [name for name in directories if os.path.join(top, name) not in ("/tmp", "/dev/shm")]
        tried += 1
        if outcome(os.open, f"{top}/attack", os.O_CREAT | os.O_WRONLY) == "done":
            written.append(top)
        for name in files[:20]:
            path = os.path.join(top, name)
            if not os.path.islink(path) and stat.S_ISREG(os.lstat(path).st_mode):
                tried += 1
                if outcome(os.open, path, os.O_WRONLY) == "done":
                    written.append(path)
        if tried > 20000:
            break
    return {"written": written, "tried": tried, "tmp": outcome(os.open, "/tmp/attack", os.O_CREAT | os.O_WRONLY)}


def changes_files_that_are_its_own_users_outside(data, context):
    """Where the worker is an ordinary user, the Python is often that user's own."""
    told = {}
    library = os.path.dirname(os.__file__)
    for path in (library + "/os.py", library, sys.executable, sys.prefix):
        told[path] = {
            "chmod": outcome(os.chmod, path, 0o777),
            "rename": outcome(os.rename, path, path + "x"),
            "utime": outcome(os.utime, path),
            "attribute": outcome(os.setxattr, path, "user.attack", b"1"),
        }
    told["truncate"] = outcome(os.truncate, library + "/os.py", 0)
    told["byte code"] = outcome(os.mkdir, library + "/__pycache__/attack")
    return told


def changes_the_runner(data, context):
    return {
        "write": outcome(os.open, "/sortie/sortie_runner/child.py", os.O_WRONLY),
        "chmod": outcome(os.chmod, "/sortie/sortie_runner/child.py", 0o777),
        "chmod of the filters": outcome(os.chmod, "/sortie/filters.bpf", 0o777),
        "remove": outcome(os.unlink, "/sortie/sortie_runner/child.py"),
        "add": outcome(os.open, "/sortie/sortie_runner/json.py", os.O_CREAT | os.O_WRONLY),
        "replace": outcome(os.rename, "/sortie", "/elsewhere"),
    }


def opens_the_memory_and_the_disks_of_the_machine(data, context):
    told = {}
    names = "mem kmem port kmsg kvm fuse vda sda nvme0n1 nvme0 loop0 loop-control dm-0 mapper/control net/tun ppp rtc0 hpet uinput tty tty0 console ptmx pts/0 vhost-net userfaultfd cpu/0/msr".split()
    for name in names:
        told[name] = outcome(os.open, f"/dev/{name}", os.O_RDONLY)
    for name in ("kcore", "kmsg", "kpagecount", "vmallocinfo", "sysrq-trigger"):
        told[f"proc {name}"] = outcome(read, f"/proc/{name}")
    return told


def makes_a_device(data, context):
    kinds = {"disk": (stat.S_IFBLK, 254, 0), "memory": (stat.S_IFCHR, 1, 1), "null": (stat.S_IFCHR, 1, 3)}
    told = {}
    for name, (kind, major, minor) in kinds.items():
        for place in ("/tmp", "/dev/shm"):
            told[f"{name} in {place}"] = outcome(os.mknod, f"{place}/{name}", kind | 0o600, os.makedev(major, minor))
    return {"devices": told, "pipe": outcome(os.mkfifo, "/tmp/pipe")}


def reads_the_secrets_of_the_kernel(data, context):
    files = {}
    for path in ("kcore", "kmsg", "sysrq-trigger", "1/stack", "1/syscall", "self/stack", "timer_list", "slabinfo"):
        files[path] = outcome(read, f"/proc/{path}")
    addresses = []
    if os.path.exists("/proc/kallsyms"):
        with open("/proc/kallsyms") as symbols:
            addresses = [line for line in itertools.islice(symbols, 2000) if int(line.split()[0], 16)]
    machine = [name for name in ("keys", "key-users", "interrupts", "softirqs", "locks") if os.path.exists(f"/proc/{name}")]
    return {"files": files, "addresses": addresses, "machine": [name for name in machine if read(f"/proc/{name}")]}


def writes_settings_of_the_kernel(data, context):
    """Writes to every setting what it is already."""

    def write(path):
        text = read(path) if os.access(path, os.R_OK) else b"1"
        descriptor = os.open(path, os.O_WRONLY)
        os.write(descriptor, text)

    paths = [os.path.join(top, name) for top, _, files in os.walk("/proc/sys") for name in files]
    of_the_template = "oom_score_adj uid_map setgroups clear_refs timerslack_ns coredump_filter comm autogroup".split()
    paths += ["/proc/sysrq-trigger", *(f"/proc/1/{name}" for name in of_the_template)]
    return {"written": [path for path in paths if outcome(write, path) == "done"], "tried": len(paths)}


def opens_files_by_handle(data, context):
    handle = struct.pack("Ii", 128, 0) + bytes(128)
    mount = ctypes.c_int()
    directory = os.open("/tmp", os.O_RDONLY)
    return {
        "name_to_handle_at": syscall("name_to_handle_at", -100, b"/tmp", handle, ctypes.byref(mount), 0),
        "open_by_handle_at": syscall("open_by_handle_at", directory, struct.pack("Ii", 8, 1) + bytes(8), 0),
    }


def gives_a_file_to_root(data, context):
    with open("/tmp/mine", "w") as file:
        file.write("#!/bin/sh\n")
    told = {f"{user}:{group}": outcome(os.chown, "/tmp/mine", user, group) for user, group in ((0, 0), (0, -1), (-1, 0), (65534, -1))}
    os.chmod("/tmp/mine", 0o6755)
    return {"chown": told, "owner": os.stat("/tmp/mine").st_uid}


def finds_a_mount_that_can_be_written_or_grants_rights(data, context):
    """The kernel's own list: place, options of the mount."""
    writable, setuid, devices_honoured, devices = set(), set(), set(), set()
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            place, options = line.split()[4], line.split()[5].split(",")
            if "rw" in options:
                writable.add(place)
            if "nosuid" not in options:
                setuid.add(place)
            if "nodev" not in options:
                devices_honoured.add(place)
    for name in ("null", "zero", "full", "random", "urandom"):
        devices.add(f"/dev/{name}")
    # Covered by /dev/null.
    devices.update(place for place in devices_honoured if os.path.samefile(place, "/dev/null"))
    return {
        "writable": sorted(writable),
        "setuid": sorted(setuid),
        "not nodev": sorted(devices_honoured),
        "devices": sorted(devices),
    }


def replaces_tmp_by_a_link(data, context):
    return {
        "rename": outcome(os.rename, "/tmp", "/dev/shm/old"),
        "remove": outcome(os.rmdir, "/tmp"),
        "link over it": outcome(os.symlink, "/etc", "/dev/shm/../tmp2"),
        "replace": outcome(os.rename, "/dev/shm", "/tmp"),
    }


def leaves_links_that_lead_out_of_tmp(data, context):
    """What empties tmp must neither follow a link nor change what it leads to."""
    targets = ["/", "/etc", "/sortie", "/dev/shm", "/proc/1", "/proc/self/root", "..", "/tmp", "loop", data.get("path", "/etc/passwd")]
    for number, target in enumerate(targets):
        os.symlink(target, f"/tmp/link{number}")
    os.symlink("loop", "/tmp/loop")
    os.makedirs("/tmp/a/b")
    os.symlink("/etc", "/tmp/a/b/c")
    os.symlink("/tmp/a", "/dev/shm/a")
    os.chmod("/tmp/a", 0)
    return len(targets)


def links_a_file_of_the_host_into_tmp(data, context):
    with open("/tmp/mine", "w"):
        pass
    told = {path: outcome(os.link, path, "/tmp/theirs") for path in ("/etc/passwd", os.__file__, "/sortie/filters.bpf")}
    told["by descriptor"] = outcome(os.link, "/proc/self/exe", "/tmp/exe", follow_symlinks=True)
    return {"host": told, "own": outcome(os.link, "/tmp/mine", "/tmp/again")}


def uses_a_descriptor_of_the_worker(data, context):
    directories, regular, more = [], [], []
    for number in range(1024):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            continue
        target = os.readlink(f"/proc/self/fd/{number}")
        if stat.S_ISDIR(kind):
            directories.append(target)
        elif stat.S_ISREG(kind):
            regular.append(target)
        elif number > 2:
            more.append(target)
    # The channel is one socket or two pipes.
    sockets = [target for target in more if target.startswith("socket:")]
    pipes = [target for target in more if target.startswith("pipe:")]
    own = sockets == more and len(sockets) <= 1 or pipes == more and len(pipes) <= 2
    return {"directories": directories, "regular": regular, "more than the channel": [] if own else more}


def watches_files_that_others_read(data, context):
    """Notices of the kernel about shared files tell what other slots, and the host, do with them."""
    told = {"inotify_init1": syscall("inotify_init1", 0), "fanotify_init": syscall("fanotify_init", 0, 0)}
    directory = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    told["dnotify"] = outcome(fcntl.fcntl, directory, fcntl.F_NOTIFY, fcntl.DN_ACCESS)
    return told
