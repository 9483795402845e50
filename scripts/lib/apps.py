"""What can be shown: for each app its configuration, what is sent and where to, and how the reckoning calls what comes of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class App:
    name: str
    sends: str  # in words
    config: str  # this and the records: below the root of the project
    records: str
    stream: str  # of that configuration, the one that is reckoned up; "" all of them, and each record says where it goes
    routes: str  # as scripts/locust takes them; ROUTES replaces them, unless each record says where it goes
    fields: tuple  # those that are compared with what was sent; all of them where there are several streams
    values: str  # what these are called
    keys: dict  # what the keys of a counter are called
    programs: tuple = ()  # beside those that the configuration needs


APPS = {app.name: app for app in (
    App("weather", "weather tweets", "aguacero.toml", "locust/data/tweets.json", "weather", "/input",
        ("texto",), "texts", {"by_country": "countries"}),
    App("votes", "votes for bands", "examples/votes.toml", "locust/data/votes.json", "votes", "/votes/grpc=1,/votes/wasm=1",
        ("name", "album", "year", "rank"), "votes",
        {"by_name": "bands", "by_album": "albums", "by_rank": "ranks", "by_name_rank": "bands' ranks"}),
    App("guild", "records of a guild's day", "examples/guild.toml", "locust/data/guild.json", "", "", (), "", {}, ("guild",)),
)}


def named(name):
    """By what APP in the environment says; weather if it says nothing. A ValueError has words for whoever wrote it."""
    if name and name not in APPS:
        raise ValueError(f"APP is {name!r}, and should be one of {', '.join(APPS)}")
    return APPS[name or "weather"]
