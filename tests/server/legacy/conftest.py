"""The shop of the executor's tests."""

from tests.server.executor.conftest import site, still

__all__ = ["site", "still"]
