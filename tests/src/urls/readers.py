"""What libpq, psycopg and urllib make of URLs: one JSON list of URLs in, one JSON list of readings out."""

import json
import sys
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo


def plain(url):
    """The URL as frameworks hand it to the driver: with the scheme that it knows."""
    scheme, mark, rest = url.partition("://")
    return "postgresql://" + rest if mark and scheme not in ("postgres", "postgresql") else url


def libpq(url):
    options = Conninfo.parse(plain(url).encode())
    return {one.keyword.decode(): one.val.decode() for one in options if one.val is not None}


def by_psycopg(url):
    return {name: str(value) for name, value in conninfo_to_dict(plain(url)).items()}


def urllib(url):
    """As dj-database-url, asyncpg and SQLAlchemy do, which differ in the rest but not here."""
    parts = urlsplit(url)
    credential, _, servers = parts.netloc.rpartition("@")
    user, colon, password = credential.partition(":")
    found = {"servers": servers, "path": unquote(parts.path), "fragment": parts.fragment}
    if user:
        found["user"] = unquote(user)
    if colon:
        found["password"] = unquote(password)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        found[name if name in ("user", "password") else "?" + name] = value
    return found


def reading(reader, url):
    try:
        return reader(url)
    except (psycopg.Error, ValueError, UnicodeError):
        return None


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        urls = json.load(file)
    readers = {"libpq": libpq, "psycopg": by_psycopg, "urllib": urllib}
    answers = []
    for url in urls:
        found = {name: reading(reader, url) for name, reader in readers.items()}
        answers.append({name: value for name, value in found.items() if value is not None})
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(answers, file)


main()
