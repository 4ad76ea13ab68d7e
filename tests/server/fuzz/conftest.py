"""The served store that the REST tests have: everything is reachable, nobody signs in."""

from tests.server.rest.conftest import open_rig, serve, templates

__all__ = ["open_rig", "serve", "templates"]
