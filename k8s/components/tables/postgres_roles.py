"""PostgreSQL's roles: the rights of scripts/rights for the tables of a configuration, with passwords from files.

    python3 postgres_roles.py AGUACERO_TOML FOLDER_OF_PASSWORDS ROLES_SQL

A file of the folder is called like its user; the guild's processors have a role where they have one. Runs before each start of
PostgreSQL, so that it always has what is declared. What it writes has the keys of the passwords in it, and not the passwords."""

import base64
import hashlib
import hmac
import os
import sys
import tomllib
from pathlib import Path

import rights

ADMIN = "admin"
ITERATIONS = 4096  # PostgreSQL's own


def main(configuration, passwords, target):
    config = tomllib.loads(Path(configuration).read_text("utf-8"))
    database = config["postgres"]["url"].rpartition("/")[2]
    users = [ADMIN, rights.OWNER, rights.TABLES, *([rights.GUILD] if Path(passwords, rights.GUILD).exists() else [])]
    lines = [line for user in users for line in role(user, password(Path(passwords, user)))]
    # Else a name without a schema would mean another table to the owner, who is called like our schema, than to everybody else.
    lines += [f"ALTER DATABASE {rights.quoted(database)} OWNER TO {rights.OWNER}", f"ALTER DATABASE {rights.quoted(database)} SET search_path = public"]
    lines += rights.postgres_connect(database)
    for schema in schemas(config["streams"]):
        lines += rights.postgres_ahead(schema)
    if rights.GUILD in users:
        lines += rights.postgres_guild(database)
    # As `postgres --single -j` takes them: each ends with a semicolon and an empty line.
    Path(target).write_text("".join(f"{line};\n\n" for line in lines))
    print(f"{target}: {', '.join(users)}, for the schemas {', '.join(schemas(config['streams']))}")


def schemas(streams):
    """Ours, and those of the tables that are declared."""
    names = (stream["table"].get("name", name) for name, stream in streams.items() if "table" in stream)
    return sorted({rights.SCHEMA, *(name.partition(".")[0] if "." in name else "public" for name in names)})


def role(user, secret):
    """Made if it is not there; its password is that of the file."""
    return [f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') THEN CREATE ROLE {user}; END IF; END $$",
            f"ALTER ROLE {user} LOGIN PASSWORD '{verifier(secret, os.urandom(16))}'"]


def verifier(secret, salt):
    """What PostgreSQL keeps of a password (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, ITERATIONS)
    client, server = (hmac.digest(salted, words, "sha256") for words in (b"Client Key", b"Server Key"))
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"


def password(file):
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        sys.exit(f"the password of PostgreSQL's user {file.name}: {error}. It is the key `{file.name}` of the Secret postgres-users")
    if not text:
        sys.exit(f"the password of PostgreSQL's user {file.name} is empty: mend the key `{file.name}` of the Secret postgres-users")
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
