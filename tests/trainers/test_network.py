from __future__ import annotations

import socket
import sys

import pytest

from nasdet.trainers.network import interface_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


def test_the_interface_of_an_address() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.5") == ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.5", 9))  # sends nothing: asks which of one's own addresses would be used
        own = probe.getsockname()[0]
    assert interface_of(own) in {name for _, name in socket.if_nameindex()}
