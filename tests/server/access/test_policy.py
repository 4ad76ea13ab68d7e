"""The one table of rights: deny by default, and a foreign tenant looks like an unknown one."""

from __future__ import annotations

import pytest

from server.access.policy import RULES, admit, demand, demand_any
from server.errors import NotAllowed, NotFound
from server.model.actor import Actor, Right, Role

MINE, FOREIGN = "tenant-mine", "tenant-foreign"
ABOUT_A_TENANT = (Right.READ, Right.ORDER, Right.REMOVE)
ABOUT_THE_FLEET = tuple(right for right in Right if right not in ABOUT_A_TENANT)


def member(role: Role) -> Actor:
    return Actor(name="jane@example.com", role=role, tenants={MINE: role})


@pytest.mark.parametrize("role", list(Role))
def test_a_method_without_a_rule_is_refused_to_everybody(role: Role) -> None:
    with pytest.raises(NotAllowed) as refused:
        admit(Actor(name="jane@example.com", role=role), "LaunchRockets")
    assert refused.value.code == "METHOD_WITHOUT_RULE"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("right", list(Right))
def test_a_member_hears_of_a_foreign_tenant_what_he_hears_of_none(role: Role, right: Right) -> None:
    said = []
    for tenant_id in (FOREIGN, "tenant-unknown"):
        with pytest.raises(NotFound) as refused:
            demand(member(role), right, tenant_id)
        said.append((refused.value.message.replace(tenant_id, "ID"), refused.value.code))
    assert said[0] == said[1]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("right", ABOUT_THE_FLEET)
def test_what_concerns_all_tenants_is_for_those_who_see_all(role: Role, right: Right) -> None:
    with pytest.raises(NotAllowed):
        demand_any(member(role), right)
    with pytest.raises(NotAllowed):
        demand(member(role), right, MINE)


def test_each_role_may_with_his_tenant_what_the_one_before_may_and_more() -> None:
    rights = [
        {right for right in Right if member(role).may(right, MINE)}
        for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    ]
    assert rights == [
        {Right.READ},
        {Right.READ, Right.ORDER},
        {Right.READ, Right.ORDER, Right.REMOVE},
    ]


def test_a_member_of_nothing_may_ask_for_his_empty_list_and_no_more() -> None:
    nobody = Actor(name="new@example.com", role=Role.VIEWER, tenants={})
    admit(nobody, "ListTenants")
    assert nobody.scope == frozenset()
    for method, right in RULES.items():
        if right not in {None, Right.READ}:
            with pytest.raises(NotAllowed):
                admit(nobody, method)
