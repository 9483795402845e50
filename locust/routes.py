"""Where records are sent: paths, each with a weight, as `/votes/grpc=3,/votes/wasm=1` says; or where each record says itself."""

import json
import re
from collections import Counter
from dataclasses import dataclass

WEIGHT_MAX = 1_000_000
ADDRESS = re.compile(r'\{\s*"(/[^"\\]*)"\s*:\s*(?=\{)')
ADDRESS_END = re.compile(r"\s*\}")


@dataclass(frozen=True)
class Route:
    path: str
    weight: int = 1


def parse(texts):
    """The routes of one or several such texts. A ValueError has words for whoever wrote them."""
    routes = [route(part.strip()) for text in texts for part in text.split(",") if part.strip()]
    if not routes:
        raise ValueError("no route; write for example /votes/grpc=3,/votes/wasm=1")
    paths = [route.path for route in routes]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f"the route {path} is there twice")
    return routes


def route(text):
    path, equals, weight = text.partition("=")
    if not path.startswith("/"):
        raise ValueError(f"the route {text!r} should begin with a slash")
    if equals and not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= WEIGHT_MAX):
        raise ValueError(f"the weight of {path} is {weight!r}, and should be a number from 1 to {WEIGHT_MAX:,}")
    return Route(path, int(weight) if equals else 1)


def addressed(records):
    """Of records that are written {"/ventas": {…}}: the path of each, and the bytes that are sent there. None if they are
    not; a ValueError has words if only some are."""
    parts = list(map(address, records))
    if None not in parts:
        return parts
    if any(parts):
        raise ValueError(f"record {parts.index(None) + 1} does not say where it goes, and others do: "
                         'write each as {"/ventas": {…}}, or none')
    return None


def address(record):
    text = record.decode("utf-8")
    begin = ADDRESS.match(text)
    if not begin:
        return None
    _, end = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode(text, begin.end())
    return (begin[1], text[begin.end() : end].encode("utf-8")) if ADDRESS_END.fullmatch(text, end) else None


def of(parts):
    """The routes of addressed records: each has as much weight as records."""
    return [Route(path, count) for path, count in Counter(path for path, _ in parts).items()]


class Turns:
    """Whose turn it is: of any run of requests each route gets its share, spread evenly, to within one request."""

    def __init__(self, routes):
        self.routes = routes
        self.total = sum(route.weight for route in routes)
        self.credit = [0] * len(routes)

    def next(self):
        """The place of the route that is most behind its share."""
        for place, route in enumerate(self.routes):
            self.credit[place] += route.weight
        place = max(range(len(self.routes)), key=self.credit.__getitem__)
        self.credit[place] -= self.total
        return place
