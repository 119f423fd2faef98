#!/usr/bin/env python3
"""Runs a keygate that counts its branches under the loads of the comparison, for `make release-pgo`.

    benches/compare/train.py BINARY
"""

import pathlib
import resource
import subprocess
import sys
import tempfile

from compare import EVENTS_BODY, EVENTS_PATH, Scenario, tools
from proxies import KEY, LOAD_CORE, Field

SECONDS = 2
PLAIN, TLS = ["keygate", "keygate, access log"], ["keygate, TLS"]
LOADS = [
    Scenario("GET", PLAIN),
    Scenario("POST 62 B", PLAIN, body="x" * 62),
    Scenario("POST 4 KB", PLAIN, body="x" * 4096),
    Scenario("POST 100 KB", PLAIN, body="x" * 102_400),
    Scenario("401", PLAIN, key="sk-wrong"),
    Scenario("SSE", PLAIN, 100, path=EVENTS_PATH.format(chunks=100, delay=10), body=EVENTS_BODY),
    Scenario("new connections", PLAIN, 16, headers=["Connection: close"]),
    Scenario("GET, TLS", TLS, scheme="https"),
    Scenario("POST 4 KB, TLS", TLS, scheme="https", body="x" * 4096),
    Scenario("TLS handshakes", TLS, 16, headers=["Connection: close"], scheme="https"),
]


def main(binary):
    # A socket for each connection that is held open.
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    with tempfile.TemporaryDirectory(prefix="keygate-train-") as directory:
        pathlib.Path(directory).chmod(0o755)
        field = Field(directory, {"keygate": binary})
        try:
            field.start_origins()
            for name in PLAIN + TLS:
                field.start(name)
            for load in LOADS:
                for name in load.targets:
                    print(f"train: {name}, {load.name}", file=sys.stderr)
                    subprocess.run(load.command(field.running[name].port, SECONDS, directory), check=True,
                                   stdout=subprocess.DEVNULL)
            print("train: keygate, TLS, HTTP/2", file=sys.stderr)
            subprocess.run(["taskset", "-c", LOAD_CORE, "h2load", "-t1", "-c8", "-m16", "-D", str(SECONDS), "-H",
                            f"authorization: Bearer {KEY}", f"https://127.0.0.1:{field.running['keygate, TLS'].port}/v1/models"],
                           check=True, stdout=subprocess.DEVNULL)
        finally:
            # The counts are written at the end of each process.
            field.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tools()
    main(pathlib.Path(sys.argv[1]).resolve())
