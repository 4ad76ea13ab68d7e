"""Whether an engine takes work, as stored: asking never waits for the engine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.states import GateState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.commands import EngineEntry
    from server.store.found import Gate
    from server.store.reads import Reads


class EngineGates:
    """Reads the gates of the configured engines, for whoever may see them: nothing is checked here.

    Attributes:
        default_engine: The id of the engine of tenants that name none; None if there is none.
        engine_ids: The ids of the configured engines.
    """

    def __init__(
        self, reads: Reads, *, engines: Mapping[str, EngineEntry], default_engine: str | None
    ) -> None:
        self._reads = reads
        self._engines = engines
        self.engine_ids = frozenset(engines)
        self.default_engine = default_engine if default_engine in engines else None

    async def by_site(self) -> dict[str, Gate]:
        """Return the gate of every site that has a row, configured here or not.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        return await self._reads.gates()

    async def of_site(self, site: str) -> Gate | None:
        """Return the gate of a site, or None if nobody has looked at the site yet.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        return (await self.by_site()).get(site)

    async def of_default(self) -> Gate | None:
        """Return the default engine's gate, or None if there is none.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        entry = self._engines.get(self.default_engine or "")
        return None if entry is None else await self.of_site(entry.site)

    async def by_engine(self) -> dict[str, Gate | None]:
        """Return the gate of each configured engine; None if nobody has looked at its site yet.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        gates = await self.by_site()
        return {engine_id: gates.get(entry.site) for engine_id, entry in self._engines.items()}


def is_open(gate: Gate | None) -> bool:
    """Tell whether a site takes work; one that nobody has looked at yet counts as if it did."""
    return gate is None or gate.state is GateState.UP
