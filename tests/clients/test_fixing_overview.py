"""What `fix --all` says first: how many tenants stand still."""

from __future__ import annotations

import pytest

from clients.cli.fixing import overview


@pytest.mark.parametrize(
    ("able", "left", "said"),
    [
        (0, 0, "No tenant is stuck."),
        (1, 0, "1 tenant is stuck: 1 can be driven on now, 0 need something"),
        (0, 1, "1 tenant is stuck: 0 can be driven on now, 1 needs something"),
        (2, 3, "5 tenants are stuck: 2 can be driven on now, 3 need something"),
    ],
)
def test_one_tenant_is_spoken_of_as_one(able: int, left: int, said: str) -> None:
    assert overview(able=able, left=left).startswith(said)
