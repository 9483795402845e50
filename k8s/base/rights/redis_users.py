"""Redis' file of users: the rights of scripts/rights for the streams of a configuration, with passwords from files.

    python3 redis_users.py AGUACERO_TOML FOLDER_OF_PASSWORDS USERS_ACL

A file of the folder is called like its user. Runs before each start of Redis, so that it always has what is declared."""

import hashlib
import sys
import tomllib
from pathlib import Path

import rights

ADMIN = "admin"
ALWAYS = ["user default off", "user probe on nopass resetkeys resetchannels -@all +ping"]  # of the pod's own probes


def main(configuration, passwords, target):
    streams = list(tomllib.loads(Path(configuration).read_text("utf-8"))["streams"])
    allowed = {ADMIN: ["~*", "&*", "+@all"], **rights.redis(streams), **rights.redis_readers(streams)}
    lines = ALWAYS + [user(name, password(Path(passwords, name)), rules) for name, rules in allowed.items()]
    Path(target).write_text("\n".join(lines) + "\n")
    print(f"{target}: {', '.join(allowed)}, for the streams {', '.join(streams)}")


def user(name, secret, rules):
    return f"user {name} on #{hashlib.sha256(secret.encode()).hexdigest()} {' '.join(rules)}"


def password(file):
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        sys.exit(f"the password of Redis' user {file.name}: {error}. It is the key `{file.name}` of the Secret redis-users")
    if not text:
        sys.exit(f"the password of Redis' user {file.name} is empty: mend the key `{file.name}` of the Secret redis-users")
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
