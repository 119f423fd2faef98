#!/usr/bin/env python3
"""Writes the numbers of README.md and docs/performance.md from the newest file of benches/results/.

    benches/compare/publish.py [--check]

With `--check` nothing is written; it ends with 1 where a page says something else than the results.
"""

import argparse
import json
import pathlib
import re
import statistics
import sys

from compare import facts, table

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches/results"
SHOWN = ["keygate", "keygate, PGO", "bare pingora", "nginx", "haproxy", "envoy"]
LOADS = ["GET", "POST 62 B", "401"]
NONE = "Not measured yet on this page: `make bench` measures this build beside a bare Pingora of the same build."


def newest():
    """The results of the highest version, and which that is."""
    by_version = lambda file: [int(part) for part in re.findall(r"\d+", file.stem)]
    files = sorted(RESULTS.glob("*.json"), key=by_version)
    return (files[-1].stem, json.loads(files[-1].read_text())) if files else (None, None)


def median(report, load, name, key):
    rounds = report["results"].get(load, {}).get(name)
    return statistics.median(one[key] for one in rounds) if rounds else None


def readme():
    version, report = newest()
    if report is None:
        return NONE
    loads = [load for load in LOADS if load in report["results"]]
    head = "".join(f" | {load}, a second | CPU µs" for load in loads)
    lines = [f"One thread each, 64 connections kept open ({version}, {report['machine']['cpu']}):", "",
             f"| {head} |", "|---" + "|--:|--:" * len(loads) + "|"]
    for name in SHOWN:
        cells = []
        for load in loads:
            per_second, cpu = (median(report, load, name, key) for key in ("per_second", "cpu_us"))
            cells.append("– | –" if cpu is None else f"{per_second:,.0f} | {cpu:.1f}")
        if any(cell != "– | –" for cell in cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Bare Pingora is a key check written the obvious way, of the same build. CPU time a request is the figure to trust; how",
              "it was measured, and what is unfair to whom: [docs/performance.md](docs/performance.md)."]
    return "\n".join(lines)


def page():
    version, report = newest()
    if report is None:
        return "Not measured yet: `make bench` prints the table."
    described = "\n".join(f"- {name}: {value}" for name, value in facts(report).items())
    return f"Results of {version}, medians of interleaved rounds:\n\n{described}\n\n{table(report)}\n\n" \
           "`+`: added to a request without a proxy in the same run."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the pages agree")
    options = parser.parse_args()
    wrong = []
    for file, text in [("README.md", readme()), ("docs/performance.md", page())]:
        before = (ROOT / file).read_text()
        parts = re.split(r"(<!-- /?numbers -->)", before)
        if len(parts) != 5:
            sys.exit(f"publish: {file} has no place marked with <!-- numbers --> and <!-- /numbers -->")
        parts[2] = f"\n{text}\n"
        after = "".join(parts)
        if after != before:
            wrong.append(file)
            if not options.check:
                (ROOT / file).write_text(after)
    if wrong and options.check:
        sys.exit(f"publish: not what benches/results/ says: {', '.join(wrong)}; run benches/compare/publish.py")


if __name__ == "__main__":
    main()
