"""`make cluster-test`: the trials in turn, each under load, and the judgement."""

import datetime
import os
from pathlib import Path

import cluster_state
import lifecycle
import monitoring
import run
from cache import Failure, say
from lifecycle import Laps
from stores import Stores
from trials import judge, killed, policies, report, rolling, scaling, usage, validation, wrong_passwords
from trials.cluster import Cluster
from trials.load import Load

RATE, USERS = 60, 12  # requests a second, while nothing but the trial is looked at
UNDER_LOAD = {"rolling": rolling.trial, "killed": killed.trial, "policies": policies.trial, "passwords": wrong_passwords.trial}
NAMES = ("validation", "monitoring", *UNDER_LOAD, "scaling")


def test(only, out=None):
    """Whether every trial went as it should. `only` are names of trials, none for all; a page goes to the folder `out`."""
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise Failure(f"there is no trial {', '.join(unknown)}, but {', '.join(NAMES)}")
    was_up, lap = cluster_state.is_running(cluster_state.load()), Laps()
    keep = was_up or os.environ.get("KEEP", "0") not in ("", "0")
    try:
        target = lifecycle.up()
        run.deploy(target, lap)
        with run.ingress(target) as (url, host):
            cluster = Cluster(target, cluster_state.loaded(), Stores(target), int(url.rsplit(":", 1)[1]), host)
            return trials(cluster, only or NAMES, out and Path(out))
    finally:
        if not keep:
            lifecycle.down()


def trials(cluster, names, out):
    rows, figures, scaled, loads, problems = [], None, None, [], []

    def tried(name, trial, *arguments):
        try:
            found = trial(*arguments)
        except Failure as failure:
            problems.append(f"{name}: {failure}")
            say(f"FAILED  {name}: {failure}")
            return None
        for row in found if isinstance(found, list) else found[0]:
            rows.append(row)
            print(*report.lines_of([row]), flush=True)
            if row.get("none_may_fail") and row["window"].failed:
                problems.append(f"{row['what']}: {row['window'].failed} requests failed, and none should")
        return found

    print(report.HEADING, flush=True)
    if "validation" in names:
        tried("validation", validation.trial, cluster)
    if "monitoring" in names:
        tried("monitoring", monitoring.trial, cluster)
    idle = usage.of_containers(cluster)
    with Load(cluster.port, cluster.host, RATE, USERS) as load:
        loads.append(load)
        cluster.until_normal(load)
        for name, trial in UNDER_LOAD.items():
            if name in names:
                tried(name, trial, cluster, load)
        if "scaling" in names:
            found = tried("scaling", scaling.trial, cluster, load, lambda: (usage.of_containers(cluster), monitoring.energy(cluster)))
            if found:
                _, samples, span, heavy, (busy, watts) = found
                loads += heavy
                scaled, figures = (samples, span), (usage.requests(cluster), idle, busy, watts)
    verdict = judge.judge(cluster.stores, loads)
    print(*("", *verdict.lines()), sep="\n  ", flush=True)
    if not verdict.is_good:
        problems.append("the judgement: events are lost, twice there, or counted otherwise than they are archived")
    if out:
        report.write(out, f"The cluster under faults, {datetime.date.today()}", rows, figures, verdict, scaled)
        say(f"a page is in {out}")
    print("\n  " + ("Everything went as it should." if not problems else "\n  ".join(problems)) + "\n", flush=True)
    return not problems
