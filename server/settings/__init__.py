"""The settings: read once, from options, environment and files, into frozen values.

`load` combines the sources, `values` checks each setting, `engines` reads the engines file, and
`files` reads files and refuses secrets that others can read.
"""

from __future__ import annotations

from server.settings.engines import EngineConfig, EnginesConfig, load_engines
from server.settings.files import read_secret_file
from server.settings.load import ensure_database_directory, load_settings
from server.settings.tls import Tls, load_tls
from server.settings.tls_files import TlsFiles
from server.settings.values import ENV_PREFIX, Address, Settings

__all__ = [
    "ENV_PREFIX",
    "Address",
    "EngineConfig",
    "EnginesConfig",
    "Settings",
    "Tls",
    "TlsFiles",
    "ensure_database_directory",
    "load_engines",
    "load_settings",
    "load_tls",
    "read_secret_file",
]
