"""Kinds of load, and the programs that make them."""

import pathlib
import re
import shutil
import subprocess
import sys

from proxies import KEY, LOAD_CORE, ROOT

EVENTS_PATH = "/v1/chat/completions?chunks={chunks}&delay_ms={delay}"
EVENTS_BODY = '{"model":"m","stream":true,"messages":[]}'


class Scenario:
    """One kind of load. `unit` is what the CPU time is divided by."""

    def __init__(self, name, targets, connections=64, unit="request", path="/v1/models", body=None, key=KEY,
                 headers=(), events=None, scheme="http"):
        self.name, self.targets, self.connections, self.unit = name, targets, connections, unit
        self.path, self.body, self.key, self.headers, self.events = path, body, key, headers, events
        self.scheme = scheme

    def script(self, directory):
        lines = [f'wrk.path = "{self.path}"']
        if self.body is not None:
            lines += ['wrk.method = "POST"', 'wrk.headers["Content-Type"] = "application/json"',
                      f"wrk.body = [=[{self.body}]=]"]
        file = pathlib.Path(directory) / (re.sub(r"\W+", "-", self.name) + ".lua")
        file.write_text("\n".join(lines) + "\n")
        return file

    def command(self, port, seconds, directory):
        headers = [f"Authorization: Bearer {self.key}", *self.headers]
        return ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--latency",
                "--timeout", "60s", "-s", str(self.script(directory)),
                *(part for header in headers for part in ("-H", header)), f"{self.scheme}://127.0.0.1:{port}"]


def install(**others):
    """Installs what is missing of the programs that every load needs, and of these others."""
    programs = {"nginx": "nginx-light", "wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux",
                "openssl": "openssl", **others}
    missing = [package for program, package in programs.items() if not shutil.which(program)]
    if missing:
        subprocess.run([ROOT / ".ci/install", *missing], check=True, stdout=sys.stderr)
