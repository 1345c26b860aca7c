"""The SQLAlchemy dialect Great Expectations reads DuckDB through: `duckdb+sightline://`.

Great Expectations fetches rows after it has given its connection back; the roll-back on return would empty DuckDB's
result. These connections only read, so there is nothing to begin, commit or roll back.
"""

from __future__ import annotations

from typing import Any

import duckdb_engine


class ReadingDialect(duckdb_engine.Dialect):
    driver = "sightline"
    supports_statement_cache = False

    def do_begin(self, dbapi_connection: Any) -> None:
        pass

    def do_commit(self, dbapi_connection: Any) -> None:
        pass

    def do_rollback(self, dbapi_connection: Any) -> None:
        pass
