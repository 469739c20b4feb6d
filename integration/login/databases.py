"""Makes other databases beside that of a stack: the same users, in schemas that nobody knows. Prints nothing.

``unheard`` says that it can be read only by a Synapse of the far future; in ``renamed`` a column has another name; in
``retyped`` it has another type; ``empty`` has nothing at all. The user ``nobody`` may connect to them and read nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psycopg2

CHANGES = {
    "unheard": "UPDATE schema_compat_version SET compat_version = 9999; UPDATE schema_version SET version = 9999",
    "renamed": "ALTER TABLE users RENAME COLUMN password_hash TO hash_of_password",
    "retyped": "ALTER TABLE users ALTER deactivated DROP DEFAULT, ALTER deactivated TYPE boolean USING deactivated = 1",
    "empty": None,
}
# The postmaster's own folder is not on Debian's PATH, but these two are.
DUMP, RESTORE = "pg_dump", "psql"


def main() -> None:
    """Makes them all."""
    facts = json.loads((Path(sys.argv[1]) / "stack.json").read_text())["database"]
    place = {"host": facts["socket_folder"], "port": facts["port"], "user": facts["user"]}
    options = [f"--host={place['host']}", f"--port={place['port']}", f"--username={place['user']}"]
    tables = [f"--table={name}" for name in ("users", "user_threepids", "schema_version", "schema_compat_version")]
    dump = subprocess.run(
        [DUMP, *options, *tables, facts["name"]], check=True, stdout=subprocess.PIPE, cwd="/"
    ).stdout
    _execute(place, facts["name"], "CREATE ROLE nobody LOGIN")
    for name, change in CHANGES.items():
        _execute(place, facts["name"], f"CREATE DATABASE {name} TEMPLATE template0")
        if change:
            restore = [RESTORE, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *options, name]
            subprocess.run(restore, input=dump, check=True, stdout=subprocess.DEVNULL, cwd="/")
            _execute(place, name, change)


def _execute(place: dict[str, object], database: str, statements: str) -> None:
    connection = psycopg2.connect(**place, dbname=database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statements)
    connection.close()


if __name__ == "__main__":
    main()
