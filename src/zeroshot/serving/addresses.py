"""Resolve a host name to public addresses only.

`ipaddress.is_global` depends on the Python version and permits multicast and addresses that contain
an IPv4 address. So the rules here name these networks too.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any

RESOLVERS = 16  # name resolutions at the same time; getaddrinfo cannot be interrupted

# The only IPv6 addresses in use on the internet. Outside are mapped, compatible and translated
# IPv4 addresses, unique local, link local, site local and multicast addresses.
UNICAST = ipaddress.IPv6Network("2000::/3")
REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; RFC 6890
        "192.88.99.0/24",  # 6to4 relays; RFC 7526
        "168.63.129.16/32",  # metadata service of Azure, a public address
        "2001::/23",  # protocol assignments with Teredo; RFC 2928
        "2001:db8::/32",  # documentation; RFC 3849
        "2002::/16",  # 6to4 contains an IPv4 address; RFC 3056
        "3fff::/20",  # documentation; RFC 9637
    )
)

_resolutions = threading.BoundedSemaphore(RESOLVERS)


class AddressRefused(ValueError):
    """A host name has no address, or one that is not public."""


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to a single host on the internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip not in UNICAST:
        return False
    if not ip.is_global or ip.is_multicast:
        return False
    return not any(ip in network for network in REFUSED)


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a host, all of them public.

    Raises AddressRefused if the host has no address or any of them is not public, and TimeoutError
    if the resolver takes longer than `seconds`.
    """
    found: list[Any] = []
    slots = _resolutions
    if not slots.acquire(timeout=max(0.0, seconds)):
        raise TimeoutError(f"{RESOLVERS} name resolutions are running")

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError, ValueError) as error:
            found.append(error)
        finally:
            slots.release()

    thread = threading.Thread(target=look_up, name="zeroshot-resolve", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # the process has too many threads
        slots.release()
        raise AddressRefused("no thread for the resolver") from error
    thread.join(max(0.0, seconds))
    if not found:
        raise TimeoutError("the resolver did not answer")
    if isinstance(found[0], Exception):
        raise AddressRefused(f"the host was not found ({found[0]})") from found[0]
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found[0]))
    for address in addresses:
        if not is_public(address):
            raise AddressRefused(f"the host has the address {address}, which is not public")
    if not addresses:
        raise AddressRefused("the host has no address")
    return addresses
