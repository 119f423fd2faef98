#!/usr/bin/env python3
"""How long a revoked key lives: 100 revocations, by file and by the admin API in turn, while another key's requests flow.

    benches/revocation.py [--revocations N] [--connections N] [--binary FILE]

Everything is on loopback and bounded. wrk sends about 5,000 requests a second with a key that stays; some connections ask
without a pause with the key that is revoked, until each of them is refused. The time runs from the change (the rename of the
file; the request to the admin API is sent) to the last connection's first 401, so reading and checking the file is in it.
"""

import argparse
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
KEY, TOKEN = "sk-0123456789abcdef0123456789abcdef", "admin-0123456789abcdef0123456789abcdef"

# 60 connections, each of which waits 10 ms before a request: at most 6,000 a second.
LOAD_CONNECTIONS, LOAD_SCRIPT = 60, "function delay() return 10 end\n"

CONFIG = """\
proxy: {{listen: ["127.0.0.1:{port}"], auth_mode: strict, api_key: {key}}}
admin: {{listen: "127.0.0.1:{admin}", token: {token}}}
upstreams: {{origin: {{peers: ["127.0.0.1:{origin}"]}}}}
routes: [{{path_prefix: /, upstream: origin}}]
keys:
{keys}"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def entry(name):
    return f"  - {{name: {name}, digest: 'sha256:{hashlib.sha256(secret(name).encode()).hexdigest()}'}}\n"


def secret(name):
    return f"sk-to-be-revoked-{name}"


def connect(port):
    until = time.monotonic() + 10
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), 10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def status(connection, key):
    connection.sendall(f"GET /ok HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {key}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, body = answer.split(b"\r\n\r\n", 1)
    missing = int(re.search(rb"(?i)content-length: (\d+)", head)[1]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(missing))
    return int(head[9:12])


def revoke_by_file(file, name):
    text = file.read_text()
    new = file.with_suffix(".new")
    new.write_text("".join(line for line in text.splitlines(True) if f"name: {name}," not in line))
    begun = time.monotonic()
    os.rename(new, file)
    return begun


def revoke_by_admin(port, name):
    admin = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    auth = {"Authorization": f"Bearer {TOKEN}"}
    admin.request("GET", "/api/config", headers=auth)
    answer = admin.getresponse()
    answer.read()
    change = auth | {"If-Match": answer.headers["etag"], "Content-Type": "application/json"}
    begun = time.monotonic()
    admin.request("PATCH", f"/api/keys/{name}", json.dumps({"enabled": False}), change)
    answer = admin.getresponse()
    if answer.status != 200:
        raise SystemExit(f"the admin API refuses: {answer.read().decode()}")
    admin.close()
    return begun


def seconds_until_refused(connections, key, begun):
    """Until the last of them is refused; each stays refused then."""
    allowed = list(connections)
    while allowed:
        if time.monotonic() - begun > 10:
            raise SystemExit("a revoked key still passes after 10 s")
        allowed = [connection for connection in allowed if status(connection, key) == 200]
    took = time.monotonic() - begun
    if any(status(connection, key) != 401 for connection in connections):
        raise SystemExit("a revoked key passes again")
    return took


def revoke_all(arguments, file, port, admin):
    """Milliseconds of each revocation, by way."""
    connections = [connect(port) for _ in range(arguments.connections)]
    times = {"file": [], "admin API": []}
    for number in range(arguments.revocations):
        key = secret(f"k{number}")
        if any(status(connection, key) != 200 for connection in connections):
            raise SystemExit("a key is refused before it is revoked")
        way = "file" if number % 2 == 0 else "admin API"
        begun = revoke_by_file(file, f"k{number}") if way == "file" else revoke_by_admin(admin, f"k{number}")
        times[way].append(seconds_until_refused(connections, key, begun) * 1000)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revocations", type=int, default=100)
    parser.add_argument("--connections", type=int, default=8, help="that ask with the revoked key")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/keygate")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("revocation: wrk is not installed (`apt-get install wrk`)")
    if not arguments.binary.exists():
        raise SystemExit("revocation: there is no release build: run `make release`")
    port, admin, origin = free_port(), free_port(), free_port()
    processes = []
    with tempfile.TemporaryDirectory() as directory:
        file, script = pathlib.Path(directory, "keygate.yaml"), pathlib.Path(directory, "load.lua")
        keys = "".join(entry(f"k{number}") for number in range(arguments.revocations))
        file.write_text(CONFIG.format(port=port, admin=admin, origin=origin, key=KEY, token=TOKEN, keys=keys))
        script.write_text(LOAD_SCRIPT)
        try:
            for command in (["origin", "--listen", f"127.0.0.1:{origin}"], ["run", "-c", file]):
                processes.append(subprocess.Popen([arguments.binary, *command], stdout=subprocess.DEVNULL,
                                                  stderr=subprocess.DEVNULL))
            connect(origin).close(), connect(port).close(), connect(admin).close()
            load = subprocess.Popen(["wrk", "-t1", f"-c{LOAD_CONNECTIONS}", "-d600s", "-s", script, "-H",
                                     f"Authorization: Bearer {KEY}", f"http://127.0.0.1:{port}/ok"],
                                    stdout=subprocess.PIPE, text=True)
            processes.append(load)
            begun = time.monotonic()
            times = revoke_all(arguments, file, port, admin)
            lasted = time.monotonic() - begun
            # wrk sums up when it is interrupted.
            load.send_signal(2)
            said = load.communicate(timeout=30)[0]
        finally:
            for process in processes:
                process.kill()
    show(times, said, lasted)


def show(times, said, lasted):
    failed = re.search(r"Non-2xx.*|Socket errors.*", said)
    if failed:
        raise SystemExit(f"requests of another key failed: {failed[0]}\n{said}")
    requests = int(re.search(r"(\d+) requests in", said)[1])
    for way, took in times.items():
        if took:
            print(f"revoked by {way}, {len(took)} times: refused everywhere after {statistics.median(took):.1f} ms (median), "
                  f"{max(took):.1f} ms (maximum)")
    print(f"meanwhile {requests:,} requests of another key, {requests / lasted:,.0f} a second; none failed")


if __name__ == "__main__":
    main()
