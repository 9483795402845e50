#!/usr/bin/env python3
"""Posts every case of data/hostile.json to a running gateway and compares the answers with the contract.

    python3 locust/hostile.py --host http://127.0.0.1:8080 [--only TEXT]

After each case a good event is posted, on the same connection if the gateway kept it, and must
still be stored: whatever was sent, connection or process survives. What fits is stored, so use a
gateway whose counters nobody needs. The exit status is 1 if any answer was another than it should be.
"""

import argparse
import base64
import contextlib
import http.client
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

CASES = Path(__file__).resolve().parent / "data" / "hostile.json"
SECONDS_MAX = 30
GOOD = {"name": "a good event", "content_type": "application/json", "status": 200, "accepted": 1,
        "body": '{"texto": "Su lluvia", "país": "Argentina"}'}


def body_of(case):
    """The bytes to send: `body_base64`, or `body_parts` ([text, times] each), or `body` as UTF-8."""
    if "body_base64" in case:
        return base64.b64decode(case["body_base64"])
    parts = case.get("body_parts", [[case.get("body", ""), 1]])
    return "".join(text * times for text, times in parts).encode("utf-8")


def headers_of(case, body):
    headers = [("Content-Type", case["content_type"])] if case["content_type"] else []
    for name, values in case.get("headers", {}).items():
        headers += [(name, value) for value in (values if isinstance(values, list) else [values])]
    length = ("Transfer-Encoding", "chunked") if case.get("chunked") else ("Content-Length", str(len(body)))
    return [*headers, length] if body or case.get("method", "POST") != "GET" else headers


def chunks_of(body):
    half = len(body) // 2
    parts = [part for part in (body[:half], body[half:]) if part]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        try:
            self.document = json.loads(body)
        except ValueError:
            self.document = None


class Client:
    """One connection, opened again only if the gateway closed it."""

    def __init__(self, host):
        self.address = urlsplit(host).netloc
        self.connection = None

    def send(self, case):
        """The answer, or a fault in words."""
        body = body_of(case)
        try:
            return self.exchange(case, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return f"no answer: {error!r}"

    def exchange(self, case, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=SECONDS_MAX)
        connection = self.connection
        connection.putrequest(case.get("method", "POST"), case.get("path", "/input"), skip_accept_encoding=True)
        for name, value in headers_of(case, body):
            connection.putheader(name, value)
        connection.endheaders()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may refuse before it has read all
            connection.send(chunks_of(body) if case.get("chunked") else body)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def faults_of(case, answer):
    """What is wrong with an answer, in words; empty if nothing is."""
    if isinstance(answer, str):
        return [answer]
    faults = []
    if answer.status != case["status"]:
        faults.append(f"answered {answer.status}: {json.dumps(answer.document, ensure_ascii=False)}")
    elif answer.status >= 400:
        faults += problem_faults(case, answer)
    else:
        faults += count_faults(case, answer)
    if answer.status == 405 and "POST" not in answer.headers.get("Allow", ""):
        faults.append("Allow does not name POST")
    return faults


def problem_faults(case, answer):
    """An error is a problem document (RFC 9457) that a person can act on."""
    faults = []
    if answer.headers.get_content_type() != "application/problem+json":
        faults.append(f"its type is {answer.headers.get_content_type()}")
    problem = answer.document
    if not isinstance(problem, dict):
        return [*faults, "it is no problem document"]
    faults += [f"{name} is missing" for name in ("type", "title", "detail") if not problem.get(name)]
    if problem.get("status") != case["status"]:
        faults.append(f"status in the document is {problem.get('status')}")
    if "field" in case and problem.get("field") != case["field"]:
        faults.append(f"field is {problem.get('field')!r}, not {case['field']!r}")
    return faults + error_faults(case, problem)


def count_faults(case, answer):
    document = answer.document if isinstance(answer.document, dict) else {}
    faults = [
        f"{name} is {document.get(name)}, not {case[name]}"
        for name in ("accepted", "rejected")
        if name in case and document.get(name) != case[name]
    ]
    return faults + error_faults(case, document)


def error_faults(case, document):
    if "errors" not in case:
        return []
    found = document.get("errors") or []
    if len(found) != len(case["errors"]):
        return [f"{len(found)} errors, not {len(case['errors'])}"]
    return [
        f"error {place}: {name} is {got.get(name)!r}, not {value!r}"
        for place, (want, got) in enumerate(zip(case["errors"], found))
        for name, value in want.items()
        if got.get(name) != value
    ]


def run(host, cases, out=sys.stdout):
    """Prints a line for each case and returns how many failed."""
    client = Client(host)
    failed = 0
    print("     want  got  case", file=out)
    for case in cases:
        answer = client.send(case)
        faults = faults_of(case, answer)
        faults += [f"afterwards, {GOOD['name']}: {fault}" for fault in faults_of(GOOD, client.send(GOOD))]
        got = "–" if isinstance(answer, str) else answer.status
        print(f"  {'✗' if faults else '✓'}  {case['status']}  {got:>3}  {case['name']} ({case['why']})", file=out)
        for fault in faults:
            print(f"               {fault}", file=out)
        failed += bool(faults)
    client.close()
    print(f"{len(cases)} cases, {failed} failed", file=out)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="http://127.0.0.1:8080")
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with this in their name")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="replace", line_buffering=True)
    cases = [case for case in json.loads(options.cases.read_text(encoding="utf-8")) if options.only in case["name"]]
    return 1 if run(options.host, cases) or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
