"""dbt within the process of a run: it speaks while it works, and ends when the run does."""

from __future__ import annotations

import ctypes
import gc
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

from dbt.adapters.base import BaseAdapter
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import FACTORY
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.event_manager_client import ctx_set_event_manager
from dbt_common.events.functions import msg_to_dict

# Debug lines are not written. Standard output is the run's log.
FLAGS = ["--log-level-file", "none", "--no-use-colors", "--no-send-anonymous-usage-stats"]
# How long a statement may take to notice that it was interrupted.
STOP_SECONDS = 25.0


class _Told(EventManager):
    """Makes no debug messages: some thirty a model, which nobody reads, and which cost as much as a small model."""

    def fire_event(
        self,
        e: BaseEvent,
        level: EventLevel | None = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        if (level or e.level_tag()) is not EventLevel.DEBUG:
            super().fire_event(e, level, node, force_warn_or_error_handling)


class DbtInvocation:
    """One command of dbt, at work on a thread of its own while it is iterated over.

    Args:
        arguments: of dbt, the command first.
        manifest: the project as it was parsed; without it dbt reads it, as far as it changed.

    Attributes:
        result: what became of it, once the iteration has ended.
    """

    def __init__(self, arguments: Sequence[str], manifest: Manifest | None = None) -> None:
        self.arguments = [*FLAGS, *arguments]
        self.manifest = manifest
        self.result = dbtRunnerResult(success=False)
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields dbt's messages as its structured log has them."""
        messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(messages,), name="dbt", daemon=True)
        self._thread.start()
        while (message := messages.get()) is not None:
            yield msg_to_dict(message)
        self._thread.join()

    def wait(self) -> dbtRunnerResult:
        """Works to the end and keeps what is said to itself."""
        for _ in self:
            pass
        return self.result

    def stop(self) -> None:
        """Interrupts dbt as the keyboard would, and what it has asked of the warehouse; waits until it has ended."""
        if self._thread is None or not self._thread.is_alive():
            return
        thread_id = ctypes.c_ulong(self._thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread_id, ctypes.py_object(KeyboardInterrupt))
        for adapter in cast(list[BaseAdapter], list(FACTORY.adapters.values())):
            if adapter.is_cancelable():
                adapter.cancel_open_connections()
        self._thread.join(STOP_SECONDS)

    def _work(self, messages: queue.SimpleQueue[Any]) -> None:
        # Hundreds of thousands of objects that stay: each search among them for garbage is in vain.
        collects = gc.isenabled()
        gc.disable()
        try:
            ctx_set_event_manager(_Told())
            self.result = dbtRunner(self.manifest, callbacks=[messages.put]).invoke(self.arguments)
        finally:
            # The warehouse is free for the next step.
            DuckDBConnectionManager.close_all_connections()
            if collects:
                gc.enable()
            messages.put(None)
