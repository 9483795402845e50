"""Weather and votes for a pipeline, for as long as a `with` lasts: a wave of requests, of which a few are wrong."""

import http.client
import itertools
import json
import math
import random
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
BANDS = {"Los Jaivas": ["Alturas de Macchu Picchu", "Canción del Sur"], "Inti-Illimani": ["Viva Chile!", "Autores chilenos"],
         "Los Prisioneros": ["La voz de los '80", "Corazones"], "Congreso": ["Viaje por la cresta del mundo"],
         "Los Bunkers": ["Vida de perros"], "Quilapayún": ["Basta", "Cantata Santa María de Iquique"]}
RANKS = 5
PERIOD_SECONDS = 40


class Traffic:
    """`rate` requests a second for each of the two streams, at most half as many again in a wave."""

    def __init__(self, url, rate):
        self.address, self.rate = urlsplit(url).netloc, rate
        self.ending, self.sent = threading.Event(), {"weather": 0, "votes": 0}
        chance = random.Random(7)
        tweets = json.loads((ROOT / "locust/data/tweets.json").read_text())
        self.threads = [threading.Thread(target=self.send, args=("weather", "/input", itertools.cycle(tweets))),
                        threading.Thread(target=self.send, args=("votes", "/votes/grpc", votes(chance)))]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def send(self, stream, path, events):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        for number, event in enumerate(events):
            wave = 1 + 0.5 * math.sin(2 * math.pi * time.monotonic() / PERIOD_SECONDS + len(path))
            if self.ending.wait(1 / (self.rate * wave)):
                break
            body = "{}" if number % 50 == 7 else json.dumps(event, ensure_ascii=False)
            connection.request("POST", path, body.encode(), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            self.sent[stream] += answer.status == 200
        connection.close()


def votes(chance):
    while True:
        band = chance.choices(list(BANDS), range(len(BANDS), 0, -1))[0]
        rank = min(RANKS, 1 + int(chance.expovariate(0.7)))
        yield {"name": band, "album": chance.choice(BANDS[band]), "year": str(chance.randint(1968, 2012)), "rank": str(rank)}
