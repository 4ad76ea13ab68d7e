"""A PostgreSQL with an authority of its own: trusted by its file, and told of what does not fit."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme

from server.errors import StoreUnavailable
from server.settings.postgresql_url import check_postgresql
from server.store.database import Database
from tests.server.store.scene import Scene
from tests.support.certificates import FAR_OFF, LONG_AGO, Pair, ServerFiles, pair
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import URL

pytestmark = pytest.mark.postgres

# What a client of PostgreSQL asks before anything else, and "yes".
_ASKED, _YES = bytes.fromhex("0000000804d2162f"), b"S"


class SpeaksTls(Proxy):
    """Speaks TLS to clients, as the wheel's PostgreSQL does not."""

    def __init__(self, url: URL, socket: str, context: ssl.SSLContext) -> None:
        super().__init__(url, socket)
        self._context = context

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(_ASKED)) == _ASKED
        writer.write(_YES)
        try:
            await writer.start_tls(self._context)
        except OSError:
            # Its client does not trust it.
            writer.transport.abort()
            return
        await super()._accept(reader, writer)


@asynccontextmanager
async def speaking(url: URL, shown: Pair, folder: Path) -> AsyncIterator[URL]:
    """Serve a database with a certificate; give its URL, which looks at all of that."""
    files = ServerFiles.of(folder, shown)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    wire = SpeaksTls(url, f"{url.query['host']}/.s.PGSQL.5432", context)
    await wire.start()
    try:
        yield wire.url.update_query_dict({"ssl": "verify-full"})
    finally:
        await wire.stop()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority whose file the environment names."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "authority.pem"))
    return made


async def test_a_database_is_written_and_read_where_its_certificate_is_looked_at(
    postgres_url: URL, authority: trustme.CA, tmp_path: Path
) -> None:
    async with speaking(postgres_url, pair(authority), tmp_path) as url:
        check_postgresql(url.render_as_string(hide_password=False))
        database = await Database.open(url)
        try:
            tenant_id = await Scene(database=database).tenant()
            assert await database.glances.mark(tenant_id) is not None
        finally:
            await database.close()


async def told(url: URL, shown: Pair, folder: Path) -> str:
    async with speaking(url, shown, folder) as there:
        with pytest.raises(StoreUnavailable) as refused:
            await Database.open(there)
    return refused.value.message


async def test_what_does_not_fit_of_its_certificate_is_told_with_its_own_remedy(
    postgres_url: URL, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it was said to want PGSSLROOTCERT, which was right."""
    other = pair(authority, "db.example.com")
    assert "Name PostgreSQL's host in PROVISIONER_DATABASE_URL as its certificate does" in (
        await told(postgres_url, other, tmp_path)
    )
    over = pair(authority, not_before=LONG_AGO, not_after=LONG_AGO.replace(year=2021))
    assert "Renew PostgreSQL's certificate" in await told(postgres_url, over, tmp_path)
    early = pair(authority, not_before=FAR_OFF.replace(year=2899), not_after=FAR_OFF)
    assert "this host's clock" in await told(postgres_url, early, tmp_path)
    strange = pair(trustme.CA())
    assert "PGSSLROOTCERT" in await told(postgres_url, strange, tmp_path)

    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "nowhere.pem"))
    assert "files named by PGSSLROOTCERT" in (await told(postgres_url, pair(authority), tmp_path))
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "server.key"))
    assert "must name PEM files" in await told(postgres_url, pair(authority), tmp_path)
