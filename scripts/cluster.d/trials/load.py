"""A steady load through the Ingress, of events that can be told apart, and what became of each request."""

import http.client
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass

COUNTRIES = ("Argentina", "Bolivia", "Brasil", "Chile", "Colombia", "Costa Rica", "Cuba", "Ecuador", "España",
             "Guatemala", "Honduras", "México", "Nicaragua", "Panamá", "Paraguay", "Perú", "Uruguay", "Venezuela")
TIMEOUT_SECONDS = 30  # more than the gateway's request_timeout_ms
AFTER_FAILURE_SECONDS = 0.2
PROBLEM = "application/problem+json"  # of Aguacero's own refusals


@dataclass
class Request:
    text: str  # of its first event; the others have the same with a number
    events: int
    started: float
    seconds: float
    outcome: str  # "200", another status, "503 of the proxy", or the name of an error of the connection

    @property
    def is_stored(self):
        return self.outcome == "200"

    @property
    def is_refused(self):
        """An answer that promises that nothing is stored; anything else may be."""
        return self.outcome.isdecimal() and self.outcome not in ("200", "202", "500", "502", "504")


@dataclass
class Window:
    """The requests that began in a span of time."""
    requests: int
    failures: Counter
    p50: float
    p99: float
    longest: float

    @property
    def failed(self):
        return sum(self.failures.values())


class Load:
    """`with Load(port, host, rate=100, users=10) as load:`; stops at the end, when all answers are there."""

    def __init__(self, port, host, rate=100, users=10, events=1):
        self.port, self.host, self.events = port, host, events
        self.interval, self.users = users / rate, users
        self.name = secrets.token_hex(4)
        self.requests, self.lock, self.over = [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.user, args=[user], daemon=True) for user in range(users)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def user(self, user):
        connection, due = None, time.monotonic() + self.interval * user / self.users
        number = 0
        while not self.over.wait(max(0, due - time.monotonic())):
            due = max(due + self.interval, time.monotonic() - 10 * self.interval)  # a user that waited does not make up for it
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
            request = self.send(connection, f"{self.name}-{user}-{number}", number)
            number += 1
            with self.lock:
                self.requests.append(request)
            if not request.outcome.isdecimal():
                connection.close()
                connection = None
            if not request.is_stored:
                time.sleep(AFTER_FAILURE_SECONDS)
        if connection:
            connection.close()

    def send(self, connection, text, number):
        country = COUNTRIES[number % len(COUNTRIES)]
        lines = [json.dumps({"texto": each, "país": country}) for each in texts_of(text, self.events)]
        headers = {"Host": self.host, "Content-Type": "application/json" if self.events == 1 else "application/x-ndjson"}
        started = time.monotonic()
        try:
            connection.request("POST", "/input", "\n".join(lines).encode(), headers)
            answer = connection.getresponse()
            answer.read()
            outcome = told(answer.status, answer.headers.get_content_type())
            if answer.will_close:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
        return Request(text, self.events, started, time.monotonic() - started, outcome)

    def between(self, start, end):
        with self.lock:
            found = [request for request in self.requests if start <= request.started < end]
        seconds = sorted(request.seconds for request in found) or [0.0]
        failures = Counter(request.outcome for request in found if not request.is_stored)
        return Window(len(found), failures, quantile(seconds, 0.5), quantile(seconds, 0.99), seconds[-1])

    def stored_since(self, start):
        """Whether a request that began after `start` was answered with 200."""
        with self.lock:
            return any(request.is_stored for request in reversed(self.requests) if request.started >= start)


def told(status, media_type):
    """The outcome that an answer tells. One that is not Aguacero's own promises nothing: a proxy says 503 also when a
    gateway ends that may have stored the event already."""
    return str(status) if status < 300 or media_type == PROBLEM else f"{status} of the proxy"


def texts_of(text, events):
    return [text] if events == 1 else [f"{text}-{number}" for number in range(events)]


def quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
