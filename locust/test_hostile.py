"""What the hostile cases promise, and the runner that sends them."""

import io
import json
import unittest
from collections import Counter

import hostile
from stub_gateway import Stub

CASES = json.loads(hostile.CASES.read_text(encoding="utf-8"))


def is_json(data):
    def refuse(word):
        raise ValueError(word)

    try:
        json.loads(data.decode("utf-8"), parse_constant=refuse, parse_int=str)
    except RecursionError:
        return data.count(b"[") == data.count(b"]")
    except ValueError:
        return False
    return True


class TheCases(unittest.TestCase):
    def test_each_case_has_a_name_of_its_own_a_reason_and_a_status(self):
        for name, count in Counter(case["name"] for case in CASES).items():
            self.assertEqual(count, 1, name)
        for case in CASES:
            self.assertTrue(case["why"], case["name"])
            self.assertIn(case["status"], {200, 207, 400, 404, 405, 413, 415, 422}, case["name"])
            self.assertEqual(len({"body", "body_parts", "body_base64"} & set(case)), 1, case["name"])

    def test_every_code_that_a_body_can_earn_is_there(self):
        self.assertEqual({case["status"] for case in CASES}, {200, 207, 400, 404, 405, 413, 415, 422})

    def test_what_must_be_400_is_really_malformed_and_nothing_else_is(self):
        for case in CASES:
            body = hostile.body_of(case)
            if case["content_type"] != "application/json" or not body or "Idempotency-Key" in case.get("headers", {}):
                continue
            with self.subTest(case["name"]):
                self.assertEqual(is_json(body), case["status"] != 400)

    def test_sizes_at_the_limit_are_exact(self):
        size = {case["name"]: len(hostile.body_of(case)) for case in CASES}
        self.assertEqual(size["event of exactly 900 KiB"], 900 * 1024)
        self.assertEqual(size["one byte more than 900 KiB"], 900 * 1024 + 1)

    def test_depth_at_the_limit_is_exact(self):
        body = {case["name"]: hostile.body_of(case) for case in CASES}
        for name, depth in (("depth 64", 64), ("depth 65", 65), ("depth 65 of objects", 65), ("depth 64 in a batch", 65)):
            self.assertEqual(body[name].count(b"[") + body[name].count(b"{"), depth, name)


def contract(case):
    """The answer that the case wants."""
    document = {name: case[name] for name in ("field", "accepted", "rejected", "errors") if name in case}
    if case["status"] >= 400:
        document |= {"type": "about:blank", "title": "t", "detail": "d", "status": case["status"]}
    return case["status"], document


class TheRunner(unittest.TestCase):
    def run_against(self, answers, cases):
        stub = Stub(answers)
        try:
            out = io.StringIO()
            return hostile.run(stub.host, cases, out), out.getvalue()
        finally:
            stub.shutdown()
            stub.server_close()

    def in_turn(self):
        """The right answer to every case, and to the good event after each."""
        wanted = iter([answer for case in CASES for answer in (contract(case), contract(hostile.GOOD))])
        return lambda body: next(wanted)

    def test_a_gateway_that_keeps_the_contract_passes(self):
        failed, out = self.run_against(self.in_turn(), CASES)
        self.assertEqual(failed, 0, out)

    def test_a_gateway_that_takes_everything_fails_each_case_that_must_be_refused(self):
        failed, _ = self.run_against(lambda body: (200, {"accepted": 1}), CASES)
        self.assertGreaterEqual(failed, sum(case["status"] >= 207 for case in CASES))

    def test_an_error_without_a_problem_document_fails(self):
        bad = [case for case in CASES if case["status"] == 400][:1]
        replies = iter([(400, None), contract(hostile.GOOD)])
        failed, out = self.run_against(lambda body: next(replies), bad)
        self.assertEqual(failed, 1)
        self.assertIn("no problem document", out)

    def test_a_gateway_that_dies_is_seen(self):
        failed, out = self.run_against(lambda body: None, CASES[:2])
        self.assertEqual(failed, 2)
        self.assertIn("no answer", out)
        self.assertIn("afterwards", out)


if __name__ == "__main__":
    unittest.main()
