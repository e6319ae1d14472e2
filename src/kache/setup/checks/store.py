"""The store: its index opens, is whole, and is of a schema this kache reads."""

from __future__ import annotations

from kache.errors import StoreCorruptError, StoreError
from kache.reports.database import reading
from kache.setup.finding import FAIL, OK, Finding, Surroundings


def check(around: Surroundings) -> list[Finding]:
    """Read the whole index once (`PRAGMA quick_check`), then let the store itself open it."""
    try:
        with reading(around.config.cache_dir) as connection:
            if connection is None:
                return [Finding(OK, "no store yet; the first compile makes it")]
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            if verdict != "ok":
                raise StoreCorruptError("the index is damaged", why=verdict)
        from kache.store.local import LocalStore

        store = LocalStore.open(around.config.cache_dir, create=False)
        try:
            return [Finding(OK, f"opens, {store.entry_count()} entries")]
        finally:
            store.close()
    except StoreError as error:
        return [Finding(FAIL, error.what, error.why, error.fix)]
