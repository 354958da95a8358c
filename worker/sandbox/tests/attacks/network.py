"""Attacks by the network: ways round the gate, spellings of addresses, names, redirects, other kinds of sockets."""

import urllib.error
import urllib.request


def tried(family, kind, protocol=0):
    return outcome(_socket.socket, family, kind, protocol)


def opens_raw_sockets(data, context):
    told = {}
    for family in (2, 10):
        for protocol in (0, 1, 6, 17, 58, 255):
            told[f"raw {family} {protocol}"] = tried(family, 3, protocol)
            told[f"raw {family} {protocol} close-on-exec"] = tried(family, 3 | socket.SOCK_CLOEXEC, protocol)
        told[f"ping {family}"] = tried(family, 2, 1 if family == 2 else 58)
        # An old spelling of a packet socket.
        told[f"packet {family}"] = tried(family, 10, 0x0300)
    return told


def opens_packet_and_netlink_sockets(data, context):
    told = {f"packet {kind}": tried(17, kind, 0x0300) for kind in (2, 3, 10)}
    for name, protocol in (("route", 0), ("diagnosis", 4), ("filter", 12), ("audit", 9), ("events", 15), ("generic", 16)):
        told[f"netlink {name}"] = tried(16, 2, protocol)
        told[f"netlink {name} raw"] = tried(16, 3, protocol)
    return told


def opens_sockets_of_other_families(data, context):
    families = {"vsock": 40, "alg": 38, "bluetooth": 31, "can": 29, "tipc": 30, "rds": 21, "xdp": 44, "kcm": 41, "smc": 43, "qrtr": 42, "x25": 9, "ax25": 3, "key": 15, "llc": 26, "nfc": 39, "rxrpc": 33}
    return {f"{name} {kind}": tried(family, kind) for name, family in families.items() for kind in (1, 2, 5)}


def pairs_sockets_of_other_families(data, context):
    if "control" in data:
        return outcome(_socket.socketpair, 16, 3)
    return {f"{family} {kind}": outcome(_socket.socketpair, family, kind) for family in (0, *range(2, 64)) for kind in (1, 2, 4, 5, 6, 10)}


def opens_sockets_of_other_types(data, context):
    if "control" in data:
        return tried(2, 4)
    told = {}
    for family in (2, 10):
        # DCCP, SCTP, UDP-Lite; 0 is whatever the type has, if need be from a module.
        for protocol in (0, 6, 17, 33, 132, 136):
            for kind in (0, 4, 5, 6, 7, 10, 15):
                for flag in (0, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK):
                    told[f"{family} {kind | flag} {protocol}"] = tried(family, kind | flag, protocol)
        told[f"{family} stream of datagrams"] = tried(family, 1, 17)
        told[f"{family} datagrams of a stream"] = tried(family, 2, 6)
    return told


def changes_its_network(data, context):
    own = _socket.socket(2, 2)
    ioctl = lambda number, payload: outcome(fcntl.ioctl, own, number, payload)
    lo = struct.pack("16s", b"lo")
    return {
        "address": ioctl(0x8916, lo + struct.pack("HH4s8x", 2, 0, bytes([10, 0, 0, 1]))),
        "flags": ioctl(0x8914, lo + struct.pack("H22x", 0)),
        "route": ioctl(0x890B, bytes(120)),
        "name": ioctl(0x8923, lo + b"attack".ljust(24, b"\0")),
        "mark": outcome(own.setsockopt, 1, 36, 1),
        "force buffer": outcome(own.setsockopt, 1, 32, 1 << 20),
        "transparent": outcome(own.setsockopt, 0, 19, 1),
        "interface": outcome(_socket.socket(2, 1).setsockopt, 0, 64, bytes(84)),
        "tap": outcome(os.open, "/dev/net/tun", os.O_RDWR).replace("ENOENT", "ENODEV"),
    }


def direct(host, port, family=2):
    """Past everything that the runner put into the module `socket`."""
    own = _socket.socket(family, 1)
    own.settimeout(3)
    return outcome(own.connect, (host, port))


def connects_to_the_loopback_of_the_host(data, context):
    told = {host: direct(host, data["port"]) for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "127.77.0.1")}
    told["::1"] = direct("::1", data["port"], 10)
    told["mapped"] = direct("::ffff:127.0.0.1", data["port"], 10)
    return told


def connects_to_an_abstract_socket_of_the_host(data, context):
    return outcome(_socket.socket(1, 1).connect, "\0" + data["name"])


def connects_to_a_socket_file_of_the_host(data, context):
    usual = ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/dev/log", "/tmp/.X11-unix/X0", "/run/containerd/containerd.sock")
    told = {path: outcome(_socket.socket(1, 1).connect, path) for path in usual}
    told["path"] = outcome(_socket.socket(1, 1).connect, data["path"])
    return told


def control(data):
    if "control" in data:
        return over_gate("open.test", data["control"])


def connects_without_the_gate(data, context):
    if "control" in data:
        return control(data)
    told = {host: direct(host, 80) for host in ("93.184.216.34", "1.1.1.1", "10.0.0.1", "192.168.0.1", "172.17.0.1", "169.254.169.254")}
    told["v6"] = direct("2606:4700:4700::1111", 80, 10)
    told["link-local"] = direct("fe80::1", 80, 10)
    return told


def asks_a_name_server_itself(data, context):
    question = bytes.fromhex("abcd01000001000000000000076578616d706c6503636f6d0000010001")
    told = {}
    for server in ("8.8.8.8", "1.1.1.1", "169.254.169.253", "127.0.0.53"):
        own = _socket.socket(2, 2)
        own.settimeout(0.5)

        def ask():
            own.connect((server, 53))
            own.send(question)
            own.recv(512)

        told[f"{server} udp"] = outcome(ask)
        told[f"{server} tcp"] = direct(server, 53)
    told["library"] = outcome(_socket.getaddrinfo, "example.com", 80)
    return told


def sends_datagrams_out(data, context):
    own = _socket.socket(2, 2)
    own.setsockopt(1, 6, 1)
    six = _socket.socket(10, 2)
    told = {host: outcome(own.sendto, b"x", (host, 9999)) for host in ("8.8.8.8", "10.0.0.1", "255.255.255.255", "224.0.0.1", "169.254.169.254")}
    told["multicast v6"] = outcome(six.sendto, b"x", ("ff02::1", 9999))
    told["v6"] = outcome(six.sendto, b"x", ("2606:4700:4700::1111", 53))
    return told


def is_reached_from_the_host(data, context):
    server = _socket.socket(2, 1)
    server.setsockopt(1, 2, 1)
    server.bind(("0.0.0.0", data["port"]))
    server.listen(10)
    server.settimeout(1.5)
    client = _socket.socket(2, 1)
    client.connect(("127.0.0.1", data["port"]))
    serve(server)
    own, others = client.recv(10).decode(), 0
    while True:
        try:
            serve(server)
            others += 1
        except TimeoutError:
            return {"reached by itself": own, "reached from outside": others}


def serve(server):
    descriptor, _ = server._accept()
    with socket.socket(fileno=descriptor) as stream:
        stream.sendall(b"inside")


def gate_port():
    return int(os.environ["http_proxy"].rpartition(":")[2])


def speak(text, patience=5):
    """Says something to the gate itself; all that comes back."""
    own = _socket.socket(2, 1)
    own.settimeout(patience)
    told = b""
    try:
        own.connect(("127.0.0.1", gate_port()))
        own.sendall(text.encode() if isinstance(text, str) else text)
        while piece := own.recv(65536):
            told += piece
    except OSError as error:
        told += named(error.errno).encode() if error.errno else b""
    return told.decode("utf-8", "replace")


def over_gate(host, port):
    """A plain HTTP request by a tunnel, in raw bytes."""
    wrapped = f"[{host}]" if ":" in host and not host.startswith("[") else host
    own = _socket.socket(2, 1)
    own.settimeout(8)
    own.connect(("127.0.0.1", gate_port()))
    own.sendall(f"CONNECT {wrapped}:{port} HTTP/1.1\r\nHost: {wrapped}:{port}\r\n\r\n".encode())
    head = own.recv(4096)
    if not head.startswith(b"HTTP/1.1 200"):
        return head.decode("utf-8", "replace")
    own.sendall(f"GET / HTTP/1.1\r\nHost: {wrapped}\r\n\r\n".encode())
    told = b""
    while piece := own.recv(4096):
        told += piece
    return "reached" if told.endswith(b"reached") else told.decode("utf-8", "replace")


def absolute(url):
    """A plain HTTP request for a whole URL, as clients ask proxies, in raw bytes."""
    host = url.split("/")[2]
    return speak(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")


def library(url):
    """What an ordinary client makes of it."""
    import requests

    try:
        answer = requests.get(url, timeout=8)
        return f"{answer.status_code} {answer.reason} {answer.text}"
    except Exception as error:
        return f"{type(error).__name__} {error}"


def plain(host, port):
    """A plain connect, which the runner takes to the gate."""
    try:
        with socket.create_connection((host, port), timeout=8) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return stream.recv(4096).decode()
    except OSError as error:
        return f"{named(error.errno) if error.errno else type(error).__name__} {error}"


def everyway(host, port):
    wrapped = f"[{host}]" if ":" in host else host
    return {
        f"{host} tunnel": over_gate(host, port),
        f"{host} forward": absolute(f"http://{wrapped}:{port}/"),
        f"{host} plain": plain(host, port),
        f"{host} library": library(f"http://{wrapped}:{port}/"),
    }


def allways(hosts, port):
    return {way: came for host in hosts for way, came in everyway(host, port).items()}


def reaches_the_loopback_of_the_host_through_the_gate(data, context):
    if "control" in data:
        return control(data)
    told = allways(("127.0.0.2", "127.1.2.3", "localhost.test"), data["port"])
    for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):
        told[f"{host} tunnel"] = over_gate(host, data["port"])
        told[f"{host} forward"] = absolute(f"http://[{host}]:{data['port']}/" if ":" in host else f"http://{host}:{data['port']}/")
    return told


def reaches_the_fleets_own_servers(data, context):
    if "control" in data:
        return control(data)
    return allways(("127.77.0.9", "own.test", "::ffff:127.77.0.9", "127.77.0.1", "open.test"), data["port"])


def reaches_metadata_by_address(data, context):
    told = allways(("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"), 80)
    return told | allways(("fd00:ec2::254", "fe80::a9fe:a9fe"), 80)


def reaches_metadata_by_name(data, context):
    return allways(("metadata.google.internal", "metadata.test", "METADATA.GOOGLE.INTERNAL", "metadata.test."), 80)


def reaches_metadata_by_other_spellings(data, context):
    v4 = "2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 169.16689662 0xa9.0xfe.0xa9.0xfe 169.254.169.254. 025177524776 ①⑥⑨.②⑤④.①⑥⑨.②⑤④".split()
    v6 = "::ffff:169.254.169.254 ::ffff:a9fe:a9fe ::169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b::169.254.169.254 2002:a9fe:a9fe:: 2001:db8::5efe:169.254.169.254".split()
    told = {}
    for host in v4 + v6:
        wrapped = f"[{host}]" if ":" in host else host
        told[f"{host} tunnel"] = over_gate(host, 80)
        told[f"{host} forward"] = absolute(f"http://{wrapped}/")
        told[f"{host} plain"] = plain(host, 80)
    told["user"] = absolute("http://open.test@169.254.169.254/")
    told["fragment"] = absolute("http://169.254.169.254#open.test/")
    told["backslash"] = absolute("http://169.254.169.254\\open.test/")
    return told


def reaches_the_loopback_by_other_spellings(data, context):
    v4 = "2130706433 0x7f000001 0x7f.1 127.1 0177.0.0.1 017700000001 127.0.0.1. 0 0.0.0.0 1.0.0.127.in-addr.arpa".split()
    v6 = "::1 :: ::ffff:127.0.0.1 ::ffff:7f00:1 ::127.0.0.1 64:ff9b::7f00:1 0:0:0:0:0:ffff:127.0.0.1".split()
    told = {}
    for host in v4 + v6:
        wrapped = f"[{host}]" if ":" in host else host
        told[f"{host} tunnel"] = over_gate(host, data["port"])
        told[f"{host} forward"] = absolute(f"http://{wrapped}:{data['port']}/")
    return told


def reaches_private_networks(data, context):
    hosts = "10.0.0.1 172.16.0.1 172.17.0.1 192.168.1.1 100.64.0.1 0.0.0.1 224.0.0.1 255.255.255.255 fc00::1 fe80::1 ff02::1".split()
    return {host: over_gate(host, 80) for host in hosts}


def is_redirected_to_metadata(data, context):
    base = f"http://open.test:{data['port']}/to/"
    return {url: library(base + url) for url in ("http://169.254.169.254/latest/", "http://metadata.google.internal/", "http://2852039166/", "http://0xa9fea9fe/")}


def is_redirected_to_the_host_by_the_library(data, context):
    base = f"http://open.test:{data['port']}/to/"
    told = {}
    for url in (f"http://127.0.0.2:{data['host']}/", f"http://localhost.test:{data['host']}/"):
        told[f"requests {url}"] = library(base + url)
        try:
            told[f"urllib {url}"] = urllib.request.urlopen(base + url, timeout=8).read().decode()
        except urllib.error.HTTPError as error:
            told[f"urllib {url}"] = f"{error.code} {error.reason}"
        except OSError as error:
            told[f"urllib {url}"] = str(error)
    return told


def rebinds_a_name(data, context):
    """The name is that of the open server when it is looked at, and that of the host when it is looked at again."""

    def ended(came):
        return "reached" if came == "reached" else "denied" if "Egress denied" in came else "refused" if " 502 " in came else came

    def ends(port):
        return sorted({ended(over_gate("rebind.test", port)) for _ in range(20)})

    # Where only the host listens, the open address refuses, and the other one is never tried.
    return {"open": ends(data["port"]), "host": ends(data["host"])}


def reaches_what_its_action_does_not_list(data, context):
    return {host: over_gate(host, data["port"]) for host in ("open.test", "127.77.0.1", "metadata.test", "own.test", "xopen.test", "open.test.evil.test", "rebind.test")}


def names_one_host_and_means_another(data, context):
    own, port = data["own"], data["port"]
    line = f"127.77.0.9:{own}"
    return {
        "header instead of line": speak(f"GET / HTTP/1.1\r\nHost: {line}\r\nConnection: close\r\n\r\n"),
        "tunnel line": speak(f"CONNECT {line} HTTP/1.1\r\nHost: open.test:{port}\r\n\r\n"),
        "whole": speak(f"GET http://{line}/ HTTP/1.1\r\nHost: open.test:{port}\r\nConnection: close\r\n\r\n"),
        "user": speak(f"GET http://open.test:{port}@{line}/ HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n\r\n"),
        "tunnel user": speak(f"CONNECT open.test:{port}@{line} HTTP/1.1\r\n\r\n"),
        "two hosts": speak(f"CONNECT open.test:{port},{line} HTTP/1.1\r\n\r\n"),
    }


def smuggles_a_second_request(data, context):
    first = f"GET http://open.test:{data['port']}/ HTTP/1.1\r\nHost: open.test:{data['port']}\r\n"
    second = f"GET http://127.0.0.2:{data['host']}/ HTTP/1.1\r\nHost: x\r\n\r\n"
    told = [
        speak(f"{first}\r\n{second}"),
        speak(f"{first}Content-Length: 0\r\n\r\n{second}"),
        speak(f"{first}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"),
        speak(f"{first}Content-Length: 5\r\nContent-Length: 0\r\n\r\n{second}"),
        speak(f"{first}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{second}"),
    ]
    return {"answers": max(came.count("reached") for came in told), "told": told}


def smuggles_by_line_ends(data, context):
    inner = f"CONNECT 127.0.0.2:{data['host']} HTTP/1.1"
    return {
        "bare return": speak(f"GET http://open.test:{data['port']}/\r{inner} HTTP/1.1\r\n\r\n"),
        "bare feed": speak(f"CONNECT open.test:{data['port']}\n{inner}\n\n HTTP/1.1\r\n\r\n"),
        "zero": speak(f"CONNECT 127.0.0.2:{data['host']}\0.open.test:{data['port']} HTTP/1.1\r\n\r\n"),
        "space": speak(f"CONNECT 127.0.0.2:{data['host']} open.test:{data['port']} HTTP/1.1\r\n\r\n"),
        "percent": speak(f"CONNECT 127.0.0.2%2f:{data['host']} HTTP/1.1\r\n\r\n"),
        "folded": speak(f"GET http://open.test:{data['host']}/ HTTP/1.1\r\nHost: x\r\n 127.0.0.2:{data['host']}\r\n\r\n"),
        "binary": speak(os.urandom(4096), 2),
    }


def asks_the_gate_for_itself(data, context):
    port = gate_port()
    return {host: over_gate(host, port) for host in ("127.0.0.1", "localhost", "127.0.0.2", "::1", "localhost.test")}


def floods_the_gate_with_connections(data, context):
    if "control" in data:
        return control(data)
    kept, refusals = [], 0
    for _ in range(300):
        own = _socket.socket(2, 1)
        own.settimeout(8)
        try:
            own.connect(("127.0.0.1", gate_port()))
            own.sendall(f"CONNECT open.test:{data['port']} HTTP/1.1\r\n\r\n".encode())
            if own.recv(4096).startswith(b"HTTP/1.1 200"):
                kept.append(own)
                continue
        except OSError:
            pass
        refusals += 1
    return {"open": len(kept), "refused": refusals}


def holds_the_gate_up_with_half_a_request(data, context):
    if "control" in data:
        return control(data)
    global kept
    kept = []
    for _ in range(120):
        own = _socket.socket(2, 1)
        own.settimeout(2)
        try:
            own.connect(("127.0.0.1", gate_port()))
            own.sendall(b"CONNECT open.test")
        except OSError:
            pass
        kept.append(own)
    daemon(forever)
    return "held"


def listens_in_place_of_the_gate(data, context):
    if "control" in data:
        return control(data)
    told = {}
    for name, options in (("plain", ()), ("reused address", (2,)), ("reused port", (15,)), ("both", (2, 15))):
        for place, address in (("", "127.0.0.1"), (" on every address", "0.0.0.0")):
            own = _socket.socket(2, 1)
            for option in options:
                own.setsockopt(1, option, 1)

            def take():
                own.bind((address, gate_port()))
                own.listen(1)

            told[name + place] = outcome(take)
    return told


came = []


def speaks_to_the_gate_after_its_call(data, context):
    if data["step"] == "tell":
        return {str(number): "reached" if "reached" in text else "denied" for number, text in enumerate(came)} or {"process": "another process"}
    import _thread

    def later():
        time.sleep(0.1)
        came.append(over_gate("open.test", data["port"]))

    _thread.start_new_thread(later, ())
    return "left"
