"""Calls made up from the contract, and bytes that are no message: never INTERNAL or UNKNOWN."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from provisioner.v1 import fleet_pb2, provisioning_pb2
from server.rpc import RpcServer
from tests.support import proof

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.message import Message

    from tests.server.rest.conftest import Rig

    Descriptor = Any  # Any: protobuf has two implementations without a common type

SEED = 20260301
LONG = 1000
METHODS = [
    method
    for file in (provisioning_pb2, fleet_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
NAMES = [method.name for method in METHODS]
# A server's own fault, and what gRPC says of an error that nobody caught.
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
# Values at the edges, and texts that forge lines, paths and queries.
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            *("", " ", "\x00", "\n", "\x1b[2J", "a" * 2000, "../../etc/passwd", "' OR 1=1 --"),
            *(
                "%s%n",
                "{0}",
                "\u202e",
                "🎉",
                "01900000-0000-7000-8000-000000000000",
                "step_2_company",
            ),
        ]
    ),
)
INTEGERS = st.sampled_from([-(2**31), -1, 0, 1, 2**31 - 1])
LONG_INTEGERS = st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1])
NUMBERS = st.floats(width=32)


@pytest.fixture
async def target(open_rig: Rig) -> AsyncIterator[tuple[int, str]]:
    """A served port, and a tenant to talk about."""
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "PARTIAL", done=9)
    server = RpcServer(open_rig.service, "127.0.0.1:0", fleet=open_rig.fleet)
    await server.start()
    yield server.port, tenant_id
    await server.stop(0)


@pytest.mark.parametrize("name", NAMES)
async def test_a_message_of_the_contract_never_meets_a_fault(
    target: tuple[int, str], name: str
) -> None:
    await asyncio.to_thread(_fuzz, *target, name, 8)


@pytest.mark.prove
@pytest.mark.parametrize("name", NAMES)
async def test_nor_does_a_long_row_of_messages(target: tuple[int, str], name: str) -> None:
    # Each look at a status that is watched takes its time, and is left.
    messages_sent = LONG // 5 if name == "WatchStatus" else LONG
    await asyncio.to_thread(_fuzz, *target, name, messages_sent)
    proof.note(messages=messages_sent, seed=SEED)


def _fuzz(port: int, tenant_id: str, name: str, examples: int) -> None:
    method = METHODS[NAMES.index(name)]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = _caller(channel, method)
        kind = GetMessageClass(method.input_type)

        @seed(SEED)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(
            typed=messages(kind),
            raw=st.binary(max_size=60),
            ours=st.booleans(),
            is_raw=st.integers(0, 3),
        )
        def one(typed: Message, raw: bytes, ours: bool, is_raw: int) -> None:
            if ours and "tenant_id" in method.input_type.fields_by_name:
                setattr(typed, "tenant_id", tenant_id)  # noqa: B010 - a field by its name
            if "follow" in method.input_type.fields_by_name:
                typed.ClearField("follow")
            sent = raw if is_raw == 0 else typed.SerializeToString()
            error = call(sent)
            assert error is None or error.code() not in FAULTS, error
            assert error is None or "Traceback" not in (error.details() or ""), error

        one()


def _caller(channel: grpc.Channel, method: Descriptor) -> Callable[[bytes], Any]:
    """Return what sends bytes, and returns the error or None."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    send: Callable[..., Any] = make(path, request_serializer=None, response_deserializer=None)

    def call(sent: bytes) -> Any:  # Any: grpc's error is a call too
        try:
            answer = send(sent, timeout=_stream_seconds(method))
            if method.server_streaming:
                for _ in answer:
                    pass
        except grpc.RpcError as error:
            return error
        return None

    return call


def _stream_seconds(method: Descriptor) -> float:
    # A status may be watched for ever: it is left, as a caller with a deadline does.
    return 0.3 if method.name == "WatchStatus" else 60.0


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Make a message with any of its fields."""
    made = kind()
    for field in kind.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        inside: Any = field.message_type  # Any: see Descriptor
        if inside is not None:
            if inside.GetOptions().map_entry:
                continue
            inner = draw(messages(GetMessageClass(inside)))
            if field.is_repeated:
                getattr(made, field.name).append(inner)
            else:
                getattr(made, field.name).CopyFrom(inner)
        elif field.is_repeated:
            getattr(made, field.name).extend(draw(st.lists(_single(field), max_size=3)))
        else:
            setattr(made, field.name, draw(_single(field)))
    return made


def _single(field: Descriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([*(value.number for value in field.enum_type.values), 99])
    return {
        FieldDescriptor.CPPTYPE_STRING: TEXTS,
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_INT32: INTEGERS,
        FieldDescriptor.CPPTYPE_INT64: LONG_INTEGERS,
        FieldDescriptor.CPPTYPE_DOUBLE: NUMBERS,
        FieldDescriptor.CPPTYPE_FLOAT: NUMBERS,
    }[field.cpp_type]
