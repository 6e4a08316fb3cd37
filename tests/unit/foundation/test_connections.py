"""A host has as many IPv6 addresses as it likes, and still only one share of the connections."""

import pytest

from inventory_project.foundation.http.connections import limited_as


@pytest.mark.parametrize(
    ("address", "counted_under"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
    ],
)
def test_connections_are_counted_by_ipv4_address_and_by_ipv6_network(address: str, counted_under: str) -> None:
    assert limited_as(address) == counted_under
