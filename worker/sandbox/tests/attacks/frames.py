"""Attacks on the channel to the worker: forged, doubled, cut and foreign frames; closed and copied descriptors."""


def channel():
    """The descriptor to write frames to: the socket, or of two pipes the one that can be written to."""
    for number in frame_descriptors():
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE in (os.O_RDWR, os.O_WRONLY):
            return number
    raise LookupError("no channel")


def framed(body):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return struct.pack(">I", len(body)) + body


def put(*frames):
    """Writes frames past the runner: the worker judges them before what the handler returns."""
    data = b"".join(map(framed, frames))
    descriptor = channel()
    while data:
        data = data[os.write(descriptor, data) :]
    return "nobody minded"


def announces_a_frame_that_is_too_large(data, context):
    os.write(channel(), b"\xff" * 64)


def writes_what_is_no_frame(data, context):
    return put({
        "empty": b"",
        "text": b"hello",
        "list": b"[]",
        "unknown kind": b'{"kind":"reboot"}',
        "no kind": b'{"value":1}',
        "not unicode": b'{"kind":"log","stream":"stdout","text":"\xff\xfe"}',
        "null": b"null",
    }[data["step"]])


def writes_frames_of_kinds_that_only_the_worker_sends(data, context):
    return put({"kind": data["step"], "call": 1, "pid": 1, "code": 0, "leftovers": 0, "state": "succeeded"})


def writes_a_result_twice(data, context):
    return put(
        {"kind": "result", "call": 1, "value": "first", "reusable": True},
        {"kind": "result", "call": 1, "value": "second", "reusable": True},
        {"kind": "failure", "call": 1, "code": "handler_raised", "message": "third"},
    )


def writes_a_result_for_another_job(data, context):
    frame = {"kind": "result", "value": "forged", "reusable": True}
    if data["step"] != "none":
        frame["call"] = int(data["step"])
    return put(frame)


CALL = 0


def writes_the_result_of_the_next_call_ahead(data, context):
    global CALL
    CALL += 1
    forged = framed({"kind": "result", "call": CALL + 1, "value": "forged", "reusable": True})
    if data["step"] == "honest":
        return "honest"
    if data["step"] == "behind":
        # In one piece with the honest answer.
        own = framed({"kind": "result", "call": CALL, "value": "first", "reusable": True})
        os.write(channel(), own + forged)
        time.sleep(1)
    if data["step"] == "before":
        os.write(channel(), forged)
    if data["step"] == "thread":
        import _thread

        def later(descriptor=channel()):
            time.sleep(0.02)
            while True:
                os.write(descriptor, forged)
                time.sleep(0.001)

        # Unlike a `Thread` this one isn't counted by the module `threading`.
        _thread.start_new_thread(later, ())
    return "first"


def writes_a_failure_with_a_code_of_the_dispatcher(data, context):
    frame = {"kind": "failure", "call": 1, "message": "forged", "details": {}}
    if data["step"] != "no code":
        frame["code"] = data["step"]
    return put(frame)


def writes_a_result_that_is_no_json(data, context):
    return put(b'{"kind":"result","call":1,"reusable":true,"value":' + data["step"].encode() + b"}")


def writes_a_result_that_is_too_deep(data, context):
    levels = int(data["step"])
    return put(b'{"kind":"result","call":1,"reusable":true,"value":' + b"[" * levels + b"]" * levels + b"}")


def writes_a_result_that_is_too_large(data, context):
    return put({"kind": "result", "call": 1, "reusable": True, "value": "x" * (1024 * 1024)})


def writes_progress_that_is_no_number(data, context):
    fraction = {"text": b'"1"', "large": b"1e300", "list": b"[1]", "negative": b"-1"}[data["step"]]
    return put(b'{"kind":"progress","fraction":' + fraction + b',"message":null}')


def writes_frames_byte_by_byte(data, context):
    descriptor = channel()
    frames = [framed({"kind": "chunk", "value": number}) for number in range(3)]
    for byte in b"".join(frames):
        os.write(descriptor, bytes([byte]))
        time.sleep(0.0005)
    return "slow"


def never_finishes_a_frame(data, context):
    os.write(channel(), b"\x00\x00\xff\xff{")
    time.sleep(60)


def answers_from_a_child(data, context):
    if os.fork() == 0:
        try:
            os.write(channel(), framed({"kind": "result", "call": 1, "value": "child", "reusable": True}))
        except (OSError, LookupError):
            pass
        return "child"
    os.wait()
    return "parent"


def closes_the_frame_descriptors(data, context):
    for number in frame_descriptors():
        os.close(number)
    if data["step"] == "stay":
        time.sleep(60)


def closes_all_descriptors(data, context):
    os.closerange(0, 1024)


def leaves_a_duplicate_of_the_frame_descriptors(data, context):
    copies = [os.dup(number) for number in frame_descriptors() for _ in range(10)]

    def body():
        while True:
            for copy in copies:
                try:
                    os.write(copy, framed({"kind": "result", "call": 1, "value": "forged", "reusable": True}))
                except OSError:
                    pass
            time.sleep(0.001)

    # The write starts after our own answer.
    def later():
        time.sleep(0.2)
        body()

    daemon(later)
    return "left"


def makes_the_channel_block_or_not(data, context):
    for number in [*frame_descriptors(), 1, 2]:
        os.set_blocking(number, False)
    for number in frame_descriptors():
        os.set_blocking(number, True)
        try:
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, 4096)
        except OSError:
            pass
    return "x" * 500_000


def reads_the_next_call_from_the_channel(data, context):
    for number in frame_descriptors():
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE in (os.O_RDWR, os.O_RDONLY):
            os.set_blocking(number, False)
            try:
                return repr(os.read(number, 65536))
            except OSError as error:
                return named(error.errno)
            finally:
                os.set_blocking(number, True)


def sends_descriptors_to_the_worker(data, context):
    """500 descriptors of ours, with frames that are all right."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    try:
        way = socket.socket(fileno=os.dup(channel()))
        for number in range(2):
            socket.send_fds(way, [framed({"kind": "chunk", "value": number})], [nothing] * 250)
    except OSError as error:
        return named(error.errno)
    return "sent"


def slow_to_close(seconds):
    """A connection that close() waits for: it has data that nobody reads."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    ours = _socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    ours.connect(listener.getsockname())
    theirs, _ = listener.accept()
    ours.setblocking(False)
    try:
        while True:
            ours.send(b"x" * 65536)
    except BlockingIOError:
        pass
    ours.setblocking(True)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    return ours, (listener, theirs)


def holds_the_worker_up_by_a_descriptor_that_is_slow_to_close(data, context):
    """The last one to hold a socket waits until it is closed: let that be the worker."""
    try:
        way = socket.socket(fileno=os.dup(channel()))
    except OSError as error:
        return named(error.errno)
    kept = []
    for number in range(8):
        ours, others = slow_to_close(6)
        kept.append(others)
        try:
            socket.send_fds(way, [framed({"kind": "chunk", "value": number})], [ours.fileno()])
        except OSError as error:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            return named(error.errno)
        # While it is under way it is not the last one, so this doesn't wait.
        ours.close()
    # As long as we live, nobody resets these connections.
    yield "sent"
    time.sleep(20)


def floods_the_channel_with_small_frames(data, context):
    flood = framed({"kind": "chunk", "value": 1}) * 1000
    descriptor = channel()
    while True:
        os.write(descriptor, flood)


def writes_to_the_log_of_the_master(data, context):
    for number in (1, 2):
        os.write(number, f"to {number}\n".encode())
    one, two = os.fstat(1), os.fstat(2)
    return "same" if one.st_ino == two.st_ino and stat.S_ISFIFO(one.st_mode) else "different"
