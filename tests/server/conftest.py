"""An authority that signs what a test's server shows."""

from __future__ import annotations

import pytest
import trustme


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()
