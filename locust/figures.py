"""What a run is told in: percentiles, and the times of several routes beside each other."""

import math

PERCENTILES = (50, 95, 99, 99.9)
COLUMNS = ("requests", "failures", "requests/s", *(f"p{percent} ms" for percent in PERCENTILES))


def percentile(ordered, percent):
    """By nearest rank: the smallest value that at least `percent` of all do not exceed."""
    if not ordered:
        return 0.0
    rank = math.ceil(round(len(ordered) * percent / 100, 6))  # a thousandth of 99.9 must not become one rank more
    return ordered[max(rank, 1) - 1]


def key(percent):
    """What a percentile is called in a summary."""
    return f"p{percent}_ms".replace(".", "_")


def percentiles(times_ms):
    """Of times in any order."""
    ordered = sorted(times_ms)
    return {key(percent): round(percentile(ordered, percent), 3) for percent in PERCENTILES}


def in_ms(value):
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def route_lines(routes):
    """The routes of a summary, each a line of one table."""
    rows = [("route", *COLUMNS)] + [
        (route["path"], f"{route['requests']:,}", f"{route['failures']:,}", f"{route['requests_per_second']:,.0f}",
         *(f"{route[key(percent)]:.1f}" for percent in PERCENTILES))
        for route in routes
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) if place else cell.ljust(width)
                      for place, (cell, width) in enumerate(zip(row, widths))) for row in rows]
