"""Which network interface a worker talks over."""

from __future__ import annotations

import socket
import struct

_SIOCGIFADDR = 0x8915
"""Linux' request for the IPv4 address of an interface."""


def interface_of(address: str) -> str:
    """Name of the network interface that has an IPv4 address of this machine; empty if that cannot be told.

    Linux is asked interface by interface, because Python's standard library lists only their names.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # an interface without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return ""
