"""Which Ray a command uses. One decision: `--address`, else RAY_ADDRESS, as `ray job submit` sets it, else a Ray of its
own, also where another one runs on the machine; a Ray is never found by chance."""

from __future__ import annotations

import os
import socket

from nasdet.errors import InputError

VARIABLE = "RAY_ADDRESS"


def ray_address(asked: str | None) -> str | None:
    """The cluster to use: what `--address` asks for, else RAY_ADDRESS; None: a Ray of one's own."""
    address = asked or os.environ.get(VARIABLE)
    return None if address in (None, "", "local") else address


def say_address(asked: str | None) -> str:
    """For people: which Ray is used."""
    address = ray_address(asked)
    if address is None:
        return "starting Ray"
    return f"using the Ray at {address}" + ("" if asked else f" ({VARIABLE})")


def place_of(asked: str | None) -> str:
    """Where the address was given, for an error."""
    return f"--address {asked}" if asked else f"{VARIABLE}={ray_address(asked)}"


def unreachable(asked: str | None, reason: object) -> InputError:
    """The error of an address at which no Ray answers."""
    without = "leave --address out" if asked else f"unset {VARIABLE}"
    remedy = f"start one with ray start --head, or {without}; if it asks for a token, set RAY_AUTH_MODE=token"
    return InputError(f"cannot reach Ray: {reason}", where=place_of(asked), remedy=remedy)


def check_address(asked: str | None) -> None:
    """Raise `InputError` if the address is no cluster's or nothing listens there: Ray takes minutes to say so."""
    address = ray_address(asked)
    if address is None:
        return
    scheme, separator, _ = address.partition("://")
    if separator:
        raise _refused(scheme, place_of(asked))
    if (target := _host_and_port(address)) is None:
        return  # a name such as auto that only Ray can resolve
    try:
        socket.create_connection(target, timeout=5).close()
    except (OSError, OverflowError) as error:
        raise unreachable(asked, error) from None


def _refused(scheme: str, where: str) -> InputError:
    instead = (
        "give the cluster's own address HOST:6379 from one of its nodes, or run ray job submit -- nasdet search ..."
    )
    if scheme == "ray":
        what = "Ray Client cannot carry a search: the process that decides must be on the cluster's network"
    elif scheme in ("http", "https"):
        what = "this is the address of Ray's dashboard, which takes jobs"
    else:
        what = f"{scheme}:// is no address of a Ray cluster"
    return InputError(what, where=where, remedy=instead)


def _host_and_port(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else None


def is_here(address: str) -> bool:
    """Whether HOST:PORT is an address of this machine."""
    target = _host_and_port(address)
    if target is None:
        return False
    try:
        found = socket.getaddrinfo(target[0], 0, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, where in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(where)  # only one's own addresses can be bound
    except OSError:
        return False
    return bool(found)
