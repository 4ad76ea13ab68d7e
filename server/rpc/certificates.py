"""What gRPC shows to clients that connect: the newest certificate, without a restart.

gRPC asks at each new connection whether there is a newer one. The function that it asks only hands
over what others have read and checked, because a handshake waits for the answer.
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

# For a call within this process. On a machine so slow that it takes longer, nothing is refused.
_PATIENCE_SECONDS = 10.0
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
# What a gRPC client says if it was shown nothing. One that was shown a certificate and does not
# accept it (it has expired, or is for other names) says something else: others judge that.
_HUNG_UP = ("Socket closed", "Connection reset")


class Certificates:
    """The credentials of one port, and the certificate that its next connection is shown.

    Attributes:
        credentials: For `add_secure_port`; gRPC itself does not keep them alive.
    """

    def __init__(self, tls: Tls) -> None:
        self._newest = self._shown = tls
        self.credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(tls),
            self._fetch,  # type: ignore[arg-type]  # its stubs leave out None, "nothing newer"
            require_client_authentication=tls.client_ca is not None,
        )

    def take(self, tls: Tls) -> None:
        """Show this certificate to new connections; existing ones stay as they are.

        Args:
            tls: The new certificate. Whether gRPC accepts it is not checked here (`demand_taken`).
        """
        self._newest = tls

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a newer certificate, once; called on a gRPC thread, one at a time per port."""
        # Read it only once: `take`, the only one to write it, may be called at this very moment.
        newest = self._newest
        if newest is self._shown:
            return None
        self._shown = newest
        return _configuration(newest)


async def demand_taken(tls: Tls) -> None:
    """Refuse a certificate that Python accepts but gRPC does not, by calling a server with it.

    gRPC's server knows fewer kinds of keys than Python, and its clients even fewer: a certificate
    with an Ed25519 or P-521 key is served to clients that all hang up. A renewed one of a kind that
    the server does not know would be ignored, with a line of gRPC's own on stderr.

    Args:
        tls: The certificate. On a machine without abstract Unix sockets it can't be tried, and
            passes.

    Raises:
        SettingsError: gRPC does not accept it; the message names the kinds of keys it accepts.
    """
    address = f"unix-abstract:provisioner-{secrets.token_hex(16)}"
    if not await _listens(address, Certificates(tls)):
        if not await _listens(address, None):
            return  # this machine has no such sockets, so we can't tell
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
        # Started first: a server that was never started keeps its socket when it is stopped.
        await server.start()
        await server.stop(None)
    return True


async def _is_shown(address: str, tls: Tls) -> bool:
    """Tell whether a gRPC client gets to see the certificate, whether it accepts it or not."""
    server = grpc.aio.server()
    # Without a client CA: a server that wants a client's certificate hangs up as well.
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
    # A new one each time: gRPC takes ownership of it, and would find it empty the second time.
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], root_certificates=tls.client_ca
    )
