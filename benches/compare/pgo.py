#!/usr/bin/env python3
"""Builds target/release-pgo/keygate: the release, laid out by what it was seen to do (profile-guided optimisation).

    benches/compare/pgo.py

A keygate that counts its branches runs under the loads of the comparison; the compiler gets the counts. Takes two release
builds and a minute of load on loopback. `make release-pgo` calls it.
"""

import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile

from loads import EVENTS_BODY, EVENTS_PATH, Scenario, install
from proxies import KEY, LOAD_CORE, ROOT, Field

WORK, OUTCOME = ROOT / "target/pgo", ROOT / "target/release-pgo"
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
    Scenario("GET", TLS, scheme="https"),
    Scenario("POST 4 KB", TLS, scheme="https", body="x" * 4096),
    Scenario("handshakes", TLS, 16, headers=["Connection: close"], scheme="https"),
]


def main():
    merge = profdata()
    shutil.rmtree(WORK / "counts", ignore_errors=True)
    counting = cargo("counting", f"-Cprofile-generate={WORK / 'counts'}")
    train(counting)
    subprocess.run([merge, "merge", "-o", WORK / "keygate.profdata", WORK / "counts"], check=True)
    guided = cargo("guided", f"-Cprofile-use={WORK / 'keygate.profdata'}")
    OUTCOME.mkdir(parents=True, exist_ok=True)
    shutil.copy2(guided, OUTCOME / "keygate")


def cargo(directory, flags):
    """The binary. With the triple named, the flags do not count for what runs while building."""
    subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "keygate", "--target", host(), "--target-dir", WORK / directory],
                   cwd=ROOT, env=os.environ | {"RUSTFLAGS": flags}, check=True)
    return WORK / directory / host() / "release/keygate"


def host():
    return re.search(r"^host: (.+)", rustc("-vV"), re.M)[1]


def rustc(*arguments):
    return subprocess.run(["rustc", *arguments], check=True, capture_output=True, text=True).stdout


def profdata():
    """LLVM's tool to merge counts: rustup's own, or one that reads their format, which is the same since LLVM 19."""
    own = pathlib.Path(rustc("--print", "target-libdir").strip()).parent / "bin/llvm-profdata"
    named = lambda: next(filter(None, (shutil.which(f"llvm-profdata-{version}") for version in range(30, 18, -1))), None)
    found = own if own.exists() else named()
    if not found:
        subprocess.run([ROOT / ".ci/install", "llvm-19"], check=True)
        found = named()
    return found or sys.exit("pgo: no llvm-profdata of LLVM 19 or later; `rustup component add llvm-tools` has one")


def train(binary):
    # A socket for each connection that is held open.
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    install()
    with tempfile.TemporaryDirectory(prefix="keygate-pgo-") as directory:
        pathlib.Path(directory).chmod(0o755)
        field = Field(directory, {"keygate": binary})
        try:
            field.start_origins()
            for name in PLAIN + TLS:
                field.start(name)
            for load in LOADS:
                for name in load.targets:
                    print(f"pgo: {name}, {load.name}", file=sys.stderr)
                    subprocess.run(load.command(field.running[name].port, SECONDS, directory), check=True,
                                   stdout=subprocess.DEVNULL)
            print("pgo: keygate, TLS, HTTP/2", file=sys.stderr)
            subprocess.run(["taskset", "-c", LOAD_CORE, "h2load", "-t1", "-c8", "-m16", "-D", str(SECONDS), "-H",
                            f"authorization: Bearer {KEY}", f"https://127.0.0.1:{field.running['keygate, TLS'].port}/v1/models"],
                           check=True, stdout=subprocess.DEVNULL)
        finally:
            # The counts are written at the end of each process.
            field.stop()


if __name__ == "__main__":
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    main()
