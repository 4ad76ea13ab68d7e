"""The command line against a service that lets in only who has a certificate of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

from server.app import App
from server.settings import Address, EnginesConfig, Settings
from tests.clients.test_cli_access import PASSWORD, Shell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EMAIL = "jane@example.com"
_FREE = Address(host="127.0.0.1", port=0)


@dataclass(frozen=True)
class Guarded:
    """A shell, the service that it calls, and the files that it needs for that."""

    shell: Shell
    authority: str
    certificate: str
    key: str

    @property
    def own(self) -> tuple[str, ...]:
        return ("--client-cert", self.certificate, "--client-key", self.key)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    ours, theirs = trustme.CA(), trustme.CA()
    server, client = ours.issue_cert("localhost", "127.0.0.1"), theirs.issue_cert("machine")
    files = {
        "ca.pem": ours.cert_pem.bytes(),
        "server.pem": server.cert_chain_pems[0].bytes(),
        "server.key": server.private_key_pem.bytes(),
        "clients-ca.pem": theirs.cert_pem.bytes(),
        "jane.pem": client.cert_chain_pems[0].bytes(),
        "jane.key": client.private_key_pem.bytes(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    url = f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}"
    settings = Settings(
        database_url=url,
        grpc_address=_FREE,
        http_address=_FREE,
        tls_cert_file=tmp_path / "server.pem",
        tls_key_file=tmp_path / "server.key",
        tls_client_ca_file=tmp_path / "clients-ca.pem",
    )
    async with App(settings, EnginesConfig()) as app:
        shell = Shell(tmp_path / "config", url, app.grpc_port)
        code, _, _ = await shell.run("users", "add", EMAIL, "--password-stdin", stdin=PASSWORD)
        assert code == 0
        yield Guarded(
            shell=shell,
            authority=str(tmp_path / "ca.pem"),
            certificate=str(tmp_path / "jane.pem"),
            key=str(tmp_path / "jane.key"),
        )


async def test_login_shows_a_certificate_and_the_profile_keeps_where_it_lies(
    guarded: Guarded,
) -> None:
    shell = guarded.shell
    login = ("login", EMAIL, "--password-stdin", "--address", shell.address)
    trusted = ("--tls-ca", guarded.authority)
    # Without one nobody is let in, and says so within the time that was given.
    code, refused, _ = await shell.run(*login, *trusted, "--timeout", "3", stdin=PASSWORD)
    assert (code, refused["error"]["code"]) in {(3, "UNAVAILABLE"), (3, "DEADLINE_EXCEEDED")}
    if refused["error"]["code"] == "UNAVAILABLE":
        assert "wants a client certificate" in refused["error"]["message"]
        assert refused["error"]["next_command"].endswith("--client-cert FILE --client-key FILE")
    code, signed, said = await shell.run(*login, *trusted, *guarded.own, stdin=PASSWORD)
    assert (code, signed["caller"]["name"]) == (0, EMAIL)
    assert "PRIVATE KEY" not in said
    (file,) = (shell.folder / "tenant-provisioner").iterdir()
    profile = json.loads(file.read_text())["default"]
    assert (profile["client_cert"], profile["client_key"]) == (guarded.certificate, guarded.key)
    assert "PRIVATE KEY" not in file.read_text()
    # From here on the profile has it all.
    code, caller, _ = await shell.run("whoami")
    assert (code, caller["name"]) == (0, EMAIL)
    assert (await shell.run("list"))[0] == 0


async def test_a_machine_has_it_all_from_its_environment(guarded: Guarded) -> None:
    shell = guarded.shell
    code, made, _ = await shell.run("users", "keys", "create", "ci", "--role", "viewer")
    assert code == 0
    environ = {
        "PROVISIONER_TOKEN": made["key"],
        "PROVISIONER_GRPC_ADDRESS": shell.address,
        "PROVISIONER_TLS_CA": guarded.authority,
        "PROVISIONER_CLIENT_CERT": guarded.certificate,
        "PROVISIONER_CLIENT_KEY": guarded.key,
    }
    code, caller, _ = await shell.run("whoami", **environ)
    assert (code, caller["name"]) == (0, "key:ci")
    # A certificate of somebody else's authority is none.
    other = trustme.CA().issue_cert("machine")
    for name, content in (
        ("CERT", other.cert_chain_pems[0].bytes()),
        ("KEY", other.private_key_pem.bytes()),
    ):
        file = shell.folder.parent / f"other.{name.lower()}"
        file.write_bytes(content)
        file.chmod(0o600)
        environ[f"PROVISIONER_CLIENT_{name}"] = str(file)
    code, refused, _ = await shell.run("whoami", "--timeout", "3", **environ)
    assert code == 3, refused


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("no key", "go together"),
        ("open key", "chmod 600"),
        ("no such file", "Cannot read the certificate"),
        ("no pem", "is no PEM file"),
    ],
)
async def test_files_that_are_no_good_are_told_before_anything_is_sent(
    guarded: Guarded, wrong: str, says: str
) -> None:
    shell, folder = guarded.shell, guarded.shell.folder.parent
    certificate, key = guarded.certificate, guarded.key
    if wrong == "no key":
        key = ""
    elif wrong == "open key":
        (folder / "jane.key").chmod(0o644)
    elif wrong == "no such file":
        certificate = str(folder / "nowhere.pem")
    else:
        (folder / "jane.pem").write_text("nothing of the kind")
    environ = {
        "PROVISIONER_GRPC_ADDRESS": shell.address,
        "PROVISIONER_TLS_CA": guarded.authority,
        "PROVISIONER_CLIENT_CERT": certificate,
        "PROVISIONER_CLIENT_KEY": key,
    }
    code, refused, said = await shell.run("whoami", **environ)
    assert code == 2
    assert says in refused["error"]["message"]
    assert "Traceback" not in said
