"""Posts the records of a file to one or several routes of the gateway, exactly as many as asked for, as fast as it answers.

The way of a record: records.py finds its bytes in the file, run.py hands it out once and says
where to, a user posts it, and the answer counts as good only with a 2xx. When the last answer has
come the run ends; its exit status is 0 only if every one of them was good.
"""

import json
import logging
import signal
import sys
from functools import partial
from pathlib import Path

import figures
import gevent
import records
import routes
from gevent.event import Event
from locust import FastHttpUser, events, task
from locust.exception import StopUser
from locust.runners import LocalRunner
from run import Run

TWEETS = Path(__file__).resolve().parent / "data" / "tweets.json"
TTY_REDRAW_SECONDS, LINE_SECONDS = 0.25, 2.0
DEFAULT_ROUTE = "/input"
HEADERS = {"Content-Type": "application/json"}

active: "ActiveRun | None" = None


@events.init_command_line_parser.add_listener
def add_options(parser):
    group = parser.add_argument_group("Aguacero")
    group.add_argument("--records", metavar="FILE", default=str(TWEETS), env_var="AGUACERO_RECORDS",
                       help="JSON array or NDJSON to send, one record a request (default: locust/data/tweets.json)")
    group.add_argument("--requests", metavar="N", type=int, default=10_000, env_var="AGUACERO_REQUESTS",
                       help="send exactly so many requests, then quit (default: 10000)")
    group.add_argument("--routes", metavar="PATH[=WEIGHT],…", action="append", default=[],
                       help="where to post: a path, or several with their weights; may be given again (default: where each "
                            "record says, {\"/ventas\": {…}}; else /input)")
    group.add_argument("--host-header", metavar="NAME", default="", help="the name to ask for, where --host is an address: "
                       "an Ingress goes by it (default: that of --host)")
    group.add_argument("--lenient", action="store_true",
                       help="also read records with commas too many and brackets too few")
    group.add_argument("--summary", metavar="FILE", default="", help="write the figures to this file as JSON")


@events.init.add_listener
def prepare(environment, runner, **_):
    options = environment.parsed_options
    if not isinstance(runner, LocalRunner):
        give_up("an exact number of requests needs all users in one process: leave --master, --worker and --processes")
    if options.requests < 1:
        give_up("--requests must be at least 1")
    try:
        run = runs(options)
    except (records.Refused, ValueError) as refusal:
        give_up(refusal)

    if environment.web_ui is None:
        logging.getLogger("locust.stats_logger").disabled = True  # its tables; close() says it shorter
        gevent.signal_handler(signal.SIGINT, runner.quit)  # else Ctrl+C surfaces as a traceback of some user

    @environment.events.test_start.add_listener
    def begin(**_):
        global active
        active = ActiveRun(environment, run())

    @environment.events.quitting.add_listener
    def close(**_):
        environment.process_exit_code = active.close(options.summary) if active else 1


def runs(options):
    """Makes a run of what is to be sent, as often as somebody starts one."""
    loaded = records.read(options.records, options.lenient)
    parts = routes.addressed(loaded)
    if parts is None:
        return partial(Run, loaded, options.requests, routes.parse(options.routes or [DEFAULT_ROUTE]))
    if options.routes:
        raise ValueError(f"each record of {options.records} says where it goes: leave --routes out")
    return partial(Run.addressed, parts, options.requests)


def give_up(message):
    print(message, file=sys.stderr)
    sys.exit(2)


class ActiveRun:
    """The run that is on, its progress line, and the end that it brings to Locust."""

    def __init__(self, environment, run):
        self.environment = environment
        self.run = run
        self.finished = Event()
        self.drawing = gevent.spawn(self.draw)
        gevent.spawn(self.quit_when_finished)

    def answered(self, route, milliseconds, failure):
        self.run.answered(route, milliseconds, failure)
        if self.run.done:
            self.finished.set()

    def quit_when_finished(self):
        """Runs in a greenlet of its own, since stopping the runner kills those of the users."""
        self.finished.wait()
        if self.environment.web_ui:
            self.environment.runner.stop()
        else:
            self.environment.runner.quit()

    def draw(self):
        tty = sys.stderr.isatty()
        while not self.finished.wait(TTY_REDRAW_SECONDS if tty else LINE_SECONDS):
            self.print_progress(tty)
        self.print_progress(tty)

    def print_progress(self, tty):
        start, end = ("\r\x1b[2K", "") if tty else ("", "\n")
        print(start + self.run.progress(), end=end, file=sys.stderr, flush=True)

    def close(self, summary_file):
        """Says what came of the run and returns the exit status."""
        self.drawing.kill()
        summary = self.run.summary()
        if sys.stderr.isatty():
            print(file=sys.stderr)
        print(
            f"{summary['requests']} requests, {summary['failures']} failures, {summary['seconds']:.1f} s, "
            f"{summary['requests_per_second']:.0f}/s, p50 {summary['p50_ms']:.1f} ms, "
            f"p95 {summary['p95_ms']:.1f} ms, p99 {summary['p99_ms']:.1f} ms"
        )
        if len(summary["routes"]) > 1:
            print("\n".join(f"  {line}" for line in figures.route_lines(summary["routes"])))
        for kind, count in self.run.all.failures.most_common(10):
            print(f"  {count} × {kind}")
        if not self.run.done:
            print(f"  stopped after {summary['requests']} of {self.run.requests} requests")
        if summary_file:
            Path(summary_file).write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return 0 if self.run.flawless else 1


class Poster(FastHttpUser):
    """One client on a connection of its own, without a pause between answer and next request."""

    @task
    def post_until_all_are_sent(self):
        options = self.environment.parsed_options
        run = active.run
        headers = {**HEADERS, "Host": options.host_header} if options.host_header else HEADERS
        while (turn := run.next()) is not None:
            record, route = turn
            with self.client.post(
                run.routes[route].path, data=record, headers=headers, allow_redirects=False, catch_response=True
            ) as answer:
                failure = failure_of(answer)
                if failure:
                    answer.failure(failure)
            active.answered(route, answer.request_meta["response_time"], failure)
        raise StopUser


def failure_of(answer):
    """None for a 2xx, else the kind of failure in words."""
    if 200 <= answer.status_code < 300:
        return None
    if answer.status_code == 0:
        return f"no answer: {answer.error}"
    try:
        problem = json.loads(answer.content)
        return f"{answer.status_code} {problem['title']}: {problem.get('detail', '')}".rstrip(": ")
    except (ValueError, TypeError, KeyError):
        return f"{answer.status_code}"
