"""How long each page of a large collection's listing takes, by HTTP, as an old client asks for it.

Every page is asked for in several rounds; the best of each counts, since neighbours stop a single request for longer
than it takes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from sqlalchemy import insert, select

from bench.harness import Check, Platform, conclude, platform
from pushpoint.client import Client
from pushpoint.databases import open_database, writing
from pushpoint.databases.tables import collections, files
from pushpoint.names import data_path

COLLECTION = "data://bench/many"
PAGE = 1000


def main() -> None:
    """Measure; print a table and the verdicts, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench listing", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="in the collection [100000]")
    parser.add_argument("--rounds", type=int, default=3, help="how often to list it [3]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-") as folder, platform(Path(folder, "home")) as server:
        _fill(server, asked.files)
        rounds = [_list(server, asked.files) for _ in range(asked.rounds)]
    pages = [min(page) for page in zip(*rounds, strict=True)]
    lines = [f"listing {asked.files:,} files, {PAGE} a page; milliseconds"]
    shown = {"median": statistics.median(pages), "slowest": max(pages), "first": pages[0], "last": pages[-1]}
    lines += [f"{name:<10}{value:8.1f}" for name, value in shown.items()]
    checks = [
        Check(name="listing, the median page", value=shown["median"], limit=50, unit="ms"),
        Check(name="listing, the slowest page", value=shown["slowest"], limit=50, unit="ms"),
    ]
    conclude(lines, checks, only_json=asked.json, bench="listing", files=asked.files, pages=pages)


def _fill(server: Platform, count: int) -> None:
    """Name files beside the running platform; uploading them would measure something else."""
    with Client(server.url, server.key) as client:
        client.create_collection(data_path(COLLECTION))
    database = open_database(server.home / "platform.db")
    row = {"digest": "sha256:" + "0" * 64, "md5": "0" * 32, "size": 12345, "media_type": "application/octet-stream"}
    with writing(database) as connection:
        inside = connection.execute(select(collections.c.id).where(collections.c.name == "many")).scalar_one()
        row |= {"collection_id": inside, "modified": datetime.now(UTC)}
        names = (f"image_{number * 7919 % count:08}.jpg" for number in range(count))  # 7919 is prime: each name once
        connection.execute(insert(files), [row | {"name": name} for name in names])
    database.dispose()


def _list(server: Platform, count: int) -> list[float]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    headers = {"authorization": f"Simple {server.key}"}
    taken: list[float] = []
    seen: set[str] = set()
    marker = ""
    while True:
        began = time.perf_counter()
        connection.request("GET", f"/v1/data/bench/many?marker={quote(marker)}", headers=headers)
        page = json.loads(connection.getresponse().read())
        taken.append(round(1000 * (time.perf_counter() - began), 2))
        seen.update(file["filename"] for file in page["files"])
        marker = page.get("marker", "")
        if not marker:
            break
    assert len(seen) == count, "a page was left out"
    connection.close()
    return taken


if __name__ == "__main__":
    main()
