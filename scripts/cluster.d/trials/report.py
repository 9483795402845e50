"""What the trials found, as a page with tables and a plot, and on the screen."""

import json
import subprocess
from pathlib import Path

import python_env

HERE = Path(__file__).resolve().parent


def lines_of(rows):
    """One line for each row: what, how long until all was normal again, requests, failures, latencies."""
    return [f"{row['what']:<46}{seconds(row):>8}{numbers(row.get('window'))}" for row in rows]


def seconds(row):
    return "" if row["seconds"] is None else f"{row['seconds']:.1f} s"


def numbers(window):
    if window is None:
        return ""
    failures = ", ".join(f"{count} × {kind}" for kind, count in window.failures.most_common())
    return (f"{window.requests:>9,}{window.failed:>6}{window.p50 * 1000:>8.0f}{window.p99 * 1000:>9.0f}{window.longest * 1000:>9.0f}"
            f"{'   ' + failures if failures else ''}")


HEADING = f"{'':<46}{'normal':>8}{'requests':>9}{'failed':>6}{'p50 ms':>8}{'p99 ms':>9}{'longest':>9}"


def write(folder, title, rows, usage, verdict, scaling):
    """The page README.md in `folder`, and replicas.png beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# {title}\n", "`make cluster-test`. *Normal*: seconds from the fault until every workload is ready, a request is "
             "answered with 200, and an event that came after that is archived. *Failed*: any answer but 200, and any error of the "
             "connection; the client sends nothing again.\n", table(rows)]
    for row in rows:
        if said := row.get("said"):
            parts.append(f"{row['what']}; the log says:\n\n```\n{said}\n```\n")
    if usage:
        parts += ["## CPU and memory of each container\n", usage_table(*usage)]
    if scaling:
        plot(folder / "replicas.png", *scaling)
        parts.append("## Replicas while scaling\n\n![Replicas over time](replicas.png)\n")
    if verdict:
        parts += ["## Judgement\n", *(f"- {line}" for line in verdict.lines()), ""]
    (folder / "README.md").write_text("\n".join(parts))


def table(rows):
    cells = [[row["what"], seconds(row), *(cells_of(row.get("window")))] for row in rows]
    return markdown(["", "normal", "requests", "failed", "p50 ms", "p99 ms", "longest ms"], cells)


def cells_of(window):
    if window is None:
        return ["", "", "", "", ""]
    kinds = ", ".join(f"{count} × {kind}" for kind, count in window.failures.most_common())
    return [f"{window.requests:,}", f"{window.failed}{f' ({kinds})' if kinds else ''}",
            *(f"{value * 1000:.0f}" for value in (window.p50, window.p99, window.longest))]


def usage_table(requested, idle, loaded, watts):
    cells = []
    for key in sorted(requested):
        asked, quiet, busy = requested[key], idle.get(key, ("", "")), loaded.get(key, ("", ""))
        cells.append([" / ".join(key), asked[0], quiet[0], busy[0], asked[1], quiet[1], busy[1]])
    usage = markdown(["container", "CPU asked (m)", "idle", "at load", "memory asked (MiB)", "idle", "at load"], cells)
    power = markdown(["pod", "watts at load, by the model"], [[pod, f"{value:.2f}"] for pod, value in sorted(watts.items())])
    return f"{usage}\n{power}"


def markdown(head, cells):
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *cells]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def plot(file, samples, span):
    python = python_env.python_of("plot", HERE / "requirements.txt")
    given = json.dumps({"samples": samples, "span": span, "file": str(file)})
    subprocess.run([python, HERE / "plot.py"], input=given, text=True, check=True)
