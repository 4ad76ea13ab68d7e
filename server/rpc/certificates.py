"""What gRPC shows to who connects: the newest certificate, without listening anew.

gRPC asks at each new connection whether there is a newer one. What is asked only hands over
what somebody else has read and checked: the answer is awaited in the middle of a handshake.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from server.errors import SettingsError

if TYPE_CHECKING:
    from server.settings import Tls

# A call within this process; on a machine that is as slow as that, nothing is refused.
_PATIENCE_SECONDS = 10.0
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
# What a client of gRPC's says to whom nothing was shown. Who was shown a certificate and does not
# like it (it is over, or names others) says something else: that is for others to judge.
_HUNG_UP = ("Socket closed", "Connection reset")


class Certificates:
    """The credentials of one port, and what its next connection is shown.

    Attributes:
        credentials: For `add_secure_port`; gRPC does not keep them alive by itself.
    """

    def __init__(self, tls: Tls) -> None:
        self._newest = self._shown = tls
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(tls),
            self._fetch,  # type: ignore[arg-type]  # its stubs leave out None, "nothing newer"
            require_client_authentication=tls.client_ca is not None,
        )

    def take(self, tls: Tls) -> None:
        """Show this to who connects from now on; who is connected stays."""
        self._newest = tls

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Give what is newer, once; on a thread of gRPC's, one at a time for a port."""
        # Read once, and `take` alone writes it: it may be called at this very moment.
        newest = self._newest
        if newest is self._shown:
            return None
        self._shown = newest
        return _configuration(newest)


async def demand_taken(tls: Tls) -> None:
    """Refuse what gRPC does not take, though Python does, by calling a server that shows it.

    Its server knows fewer kinds of keys, and its clients fewer again: a certificate whose key is
    of Ed25519 or P-521 is served to clients that all hang up. A newer one of a kind that the
    server does not know would be left out, with a line of its own on stderr.

    Raises:
        SettingsError: with the kinds that it takes.
    """
    address = f"unix-abstract:provisioner-{secrets.token_hex(16)}"
    if not await _listens(address, Certificates(tls)):
        if not await _listens(address, None):
            return  # there are no such sockets here, so nothing can be told
    elif await _is_shown(address, tls):
        return
    raise SettingsError(
        f"PROVISIONER_TLS_CERT_FILE: gRPC does not take {tls.certificate_file} with the key "
        f"{tls.key_file}: of keys it takes RSA, and the curves P-256 and P-384. Have a "
        "certificate issued for such a key."
    )


async def _listens(address: str, certificates: Certificates | None) -> bool:
    server = grpc.aio.server()
    try:
        if certificates is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, certificates.credentials)
    except RuntimeError:
        return False
    finally:
        # Begun first: a server that never was keeps its socket when it is stopped.
        await server.start()
        await server.stop(None)
    return True


async def _is_shown(address: str, tls: Tls) -> bool:
    """Tell whether a client of gRPC's gets to see it, whatever he thinks of it."""
    server = grpc.aio.server()
    # Who else hangs up is one who wants a client's certificate.
    server.add_secure_port(address, Certificates(replace(tls, client_ca=None)).credentials)
    await server.start()
    name = tls.names[0].replace("*", "any") if tls.names else "localhost"
    options = (*_OWN_CONNECTION, ("grpc.ssl_target_name_override", name))
    trusts = grpc.ssl_channel_credentials(tls.certificate)
    try:
        async with grpc.aio.secure_channel(address, trusts, options=options) as channel:
            call = channel.unary_unary(
                "/provisioner/Try", request_serializer=bytes, response_deserializer=bytes
            )
            await call(b"", timeout=_PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        return not any(words in (error.details() or "") for words in _HUNG_UP)
    finally:
        await server.stop(None)
    return True


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    # A new one each time: gRPC takes it over, and a second use would find it empty.
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], root_certificates=tls.client_ca
    )
