"""The rows of a number import, out of PostgreSQL. They come in portions: the database holds the answer, not we.

The password is libpq's business: PGPASSWORD, PGPASSFILE, ~/.pgpass, a certificate, the user's name. One in the URL would stand
in the list of processes and the shell's history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kamailio_app.errors import failure
from kamailio_app.runtime.number_rows import Row, columns, usual

SCHEMES: Final = ("postgres://", "postgresql://")
_PORTION: Final = 20_000  # rows
_DEFAULTS: Final = {"connect_timeout": "10", "application_name": "shakenctl", "client_encoding": "UTF8"}
_DATABASE: Final = "Does `psql` with this URL and query answer from here? The former list stays in use."
_INSTALL: Final = "Or export the numbers as CSV, and import that."
_SHOWN: Final = 400  # characters of what the database says


def source(url: str) -> str:
    """What to call this database: no user, no password. Errors: `inventory_unreadable`."""
    known = _parameters(url)
    return f"postgresql://{known.get('host', '')}:{known.get('port', '5432')}/{known.get('dbname', '')}"


def rows(url: str, query: str, *, named: bool) -> Iterator[Row]:
    """What `query` selects: columns named customer and number, or else the first and second one.

    The transaction is one that cannot write. Errors: `inventory_unreadable`, `inventory_malformed` (too few columns).
    """
    parameters = _parameters(url)
    import psycopg

    try:
        with psycopg.connect(**_DEFAULTS | parameters) as connection:
            connection.read_only = True
            with connection.cursor(name="numbers") as cursor:
                cursor.itersize = _PORTION
                cursor.execute(query.encode())
                head = [column.name for column in cursor.description or ()]
                where = columns(head, named) or usual(named)
                if where.number >= len(head):
                    words = f"the query answers {len(head)} column; it takes customer and number"
                    raise failure("inventory_malformed", words, "Mend `--query`: select customer, number from ...")
                for line, cells in enumerate(cursor, 1):
                    yield where.row(line, ["" if cell is None else str(cell) for cell in cells])
    except (psycopg.Error, ValueError) as error:
        said = " ".join(str(error).split())[:_SHOWN]
        raise failure("inventory_unreadable", f"{source(url)}: {said}", _DATABASE) from None


def _parameters(url: str) -> dict[str, Any]:
    """Errors: `inventory_unreadable`. No part of the URL stands in it: it may hold a password."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise failure(
            "inventory_unreadable", "PostgreSQL needs psycopg: install kamailio-stirshaken[postgresql]", _INSTALL
        ) from None
    try:
        parameters = conninfo_to_dict(url) if url.startswith(SCHEMES) else {}
    except ProgrammingError:
        parameters = {}
    if not parameters:
        words = "no URL of a PostgreSQL database: postgresql://user@host/database"
        raise failure("inventory_unreadable", words, "Compare `--from`.") from None
    if any("password" in name for name in parameters):
        words = "a password in the URL is seen by all; PGPASSWORD or ~/.pgpass takes it"
        raise failure("inventory_unreadable", words, "Leave it out of `--from`; and is it in the shell's history now?")
    return parameters
