from __future__ import annotations

import socket

import pytest

from nasdet.driver.ray_address import check_address, is_here, ray_address, say_address
from nasdet.errors import InputError


@pytest.mark.parametrize(
    ("asked", "variable", "used", "said"),
    [
        (None, None, None, "starting Ray"),
        (None, "", None, "starting Ray"),
        ("local", "10.0.0.1:6379", None, "starting Ray"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379", "using the Ray at 10.0.0.1:6379 (RAY_ADDRESS)"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "10.0.0.2:6379", "using the Ray at 10.0.0.2:6379"),
        ("auto", None, "auto", "using the Ray at auto"),
    ],
)
def test_which_ray(
    asked: str | None, variable: str | None, used: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert (ray_address(asked), say_address(asked)) == (used, said)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "Ray Client cannot carry a search: .*; give the cluster's own address HOST:6379"),
        ("http://head:8265", "this is the address of Ray's dashboard, which takes jobs; .*ray job submit -- nasdet"),
        ("spark://head:7077", "spark:// is no address of a Ray cluster"),
    ],
)
@pytest.mark.parametrize("where", ["--address ", "RAY_ADDRESS="])
def test_other_protocols_are_refused(where: str, address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = address if where == "--address " else None
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"^{where}{address}: {message}"):
        check_address(asked)


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_address(address)
    with pytest.raises(InputError, match=f"--address {address}: cannot reach Ray: .*leave --address out; if it asks"):
        check_address(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=f"RAY_ADDRESS={address}: cannot reach Ray: .*unset RAY_ADDRESS; if it asks"):
        check_address(None)


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.1:6379", True), ("localhost:6379", True), ("192.0.2.77:6379", False), ("auto", False), (":1", False)],
)
def test_whose_address(address: str, here: bool) -> None:
    assert is_here(address) is here
