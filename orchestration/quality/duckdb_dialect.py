"""The SQLAlchemy dialect Great Expectations reads DuckDB through: `duckdb+sightline://`.

Great Expectations fetches rows after it has given its connection back; the roll-back on return would empty DuckDB's
result. These connections only read, so there is nothing to begin, commit or roll back. It also keeps its connections
for longer than the file may stay open: the gate closes them here.
"""

from __future__ import annotations

from typing import Any, ClassVar

import duckdb_engine


class ReadingDialect(duckdb_engine.Dialect):
    driver = "sightline"
    supports_statement_cache = False
    opened: ClassVar[list[Any]] = []

    def connect(self, *arguments: Any, **options: Any) -> Any:
        connection = super().connect(*arguments, **options)
        self.opened.append(connection)
        return connection

    @classmethod
    def close_all(cls) -> None:
        """Closes every connection there is, so that the file can be written, moved or opened otherwise."""
        while cls.opened:
            cls.opened.pop().close()

    def do_begin(self, dbapi_connection: Any) -> None:
        pass

    def do_commit(self, dbapi_connection: Any) -> None:
        pass

    def do_rollback(self, dbapi_connection: Any) -> None:
        pass
