"""Sends one event until it is stored: AGUACERO=http://localhost:8080/input python3 client.py TEXT COUNTRY"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid

AGAIN = {408, 429, 502, 503, 504}


def send(address, event, attempts=10):
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    request = urllib.request.Request(address, json.dumps(event).encode(), headers)
    for attempt in range(attempts):  # the same bytes under the same key
        wait = random.uniform(0.5, 1) * min(5, 0.1 * 2**attempt)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in AGAIN:
                sys.exit(f"{error.code}: {error.read().decode()}")  # to be mended
            wait = float(error.headers.get("Retry-After") or wait)
        except OSError:
            pass  # no answer: nobody can know
        time.sleep(wait)
    sys.exit("given up: nobody can know whether it is stored")


print(send(os.environ["AGUACERO"], {"texto": sys.argv[1], "país": sys.argv[2]}))
