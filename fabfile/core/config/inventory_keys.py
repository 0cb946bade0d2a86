"""Every key of hosts.yml, declared once. `model.cluster` has the fields that hold the values.

A new key: an entry here and a field there. docs/HOSTS.md and docs/schema/hosts.schema.json follow by `inv docs`.
"""

from __future__ import annotations

import ipaddress

from voluptuous import Invalid, MultipleInvalid

from ..model.cluster import ROLES
from . import ssh_values as h
from . import value_checks as c
from .checks import described
from .keys import ANY_NAME, Key, fields
from .schema import Bare, name_of_entry, nearest

OLDEST_CONSUL = (1, 8, 7)
OLDEST_CADDY = (2, 6, 2)


@described(
    {"type": "array", "items": {"enum": list(ROLES)}, "minItems": 1, "uniqueItems": True},
    ", ".join(f"`{role}`" for role in ROLES),
)
def _roles(value: object) -> list[str]:
    if isinstance(value, str):
        raise Invalid(f"is text where a list is due; write [{value if value in ROLES else 'worker'}]")
    if value == []:
        raise Bare(f"is empty; a host has one or more roles ({', '.join(ROLES)})")
    if not isinstance(value, list):
        raise Invalid(f"is not a list of one or more roles ({', '.join(ROLES)})")
    faults: list[Invalid] = []
    for n, role in enumerate(value):
        if role not in ROLES:
            near = nearest(str(role), ROLES) if isinstance(role, str) else ""
            faults.append(Invalid(f"is not a role ({', '.join(ROLES)})" + (f"; {near}" if near else ""), [n]))
        elif role in value[:n]:
            faults.append(Invalid("is given twice", [n]))
    if faults:
        raise MultipleInvalid(faults)
    return [role for role in ROLES if role in value]


@described({"type": "array", "items": {"type": "string"}, "minItems": 1}, "networks or addresses, IPv4 or IPv6")
def _networks(value: object) -> list[str]:
    """Addresses or networks from which SSH is let in."""
    if not isinstance(value, list) or not value:
        raise Invalid("is not a list of one or more networks, such as [203.0.113.0/24]")
    faults: list[Invalid] = []
    found: list[str] = []
    for n, network in enumerate(value):
        try:
            text = network if isinstance(network, str) and "%" not in network else ""  # no IPv6 zones
            found.append(str(ipaddress.ip_network(text)))
        except ValueError:
            faults.append(Invalid("is not a network, such as 203.0.113.0/24 or 203.0.113.7", [n]))
    if faults:
        raise MultipleInvalid(faults)
    return found


@described({"type": "number", "minimum": 0, "exclusiveMaximum": 1e6}, "a number from 0 on")
def _promised(value: object) -> float:
    """Of a drill: seconds, or a number of requests. Which drills and numbers there are, the drills know."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise Invalid("is not a number from 0 on")
    return value


SSH_KEYS = (
    Key("user", c.user, "who logs in: root, or a user with sudo", "what ssh_config says, else your own name"),
    Key("port", c.port, "sshd's port", "what ssh_config says, else 22"),
    Key("key", c.path, "the private key", "your agent, and what ssh_config says"),
    Key("gateway", h.gateway, "one jump host; `none` goes straight. Longer chains: ProxyJump in ssh_config",
        "what ssh_config says"),
)  # fmt: skip
DEFAULT_KEYS = (
    *SSH_KEYS,
    Key("known_hosts", c.path, "the file that pins host keys", "`~/.ssh/known_hosts`"),
    Key("ssh_config", c.path, "another file than `~/.ssh/config`; `none` for no such file at all", "`~/.ssh/config`"),
)
HOST_KEYS = (
    Key("ssh", h.ssh_name, "where ssh goes", "required",
        "is missing: the address, DNS name or ssh_config alias that ssh goes to"),
    Key("roles", _roles, "what the machine does: one or more, always a list", "required",
        "is missing: a list such as [worker]"),
    Key("address", c.address, "the machine's own address in the cluster", "that of its default route"),
    Key("advertise", c.address, "what the other machines reach it by, where that differs (NAT)", "`address`"),
    *SSH_KEYS,
    Key("labels", {name_of_entry(c.tag): c.tag}, "your own words about the machine; services choose workers by them", "none",
        range=c.tag.range, schema={"type": "object", "additionalProperties": c.tag.schema}),
    Key("primary", c.flag, "the manager that takes the lead when several could; at most one", "whichever comes first"),
)  # fmt: skip
_BINARY = Key("binary", c.build, "a file on your machine instead of a fetched release", "the release is fetched")


def _program(name: str, oldest: tuple[int, int, int], default: str) -> Key:
    own = (Key("version", c.version(name.title(), oldest), "a released version", default), _BINARY)
    return Key(name, fields(own), f"which {name.title()} to install", "the toolkit's choice, kept once made", keys=own)


_HTTPS = (
    Key("email", c.email, "of the ACME account", "none"),
    Key("internal", c.flag, "every certificate from Caddy's own CA", "only for names that no public CA signs"),
)
_HOSTS = Key(ANY_NAME, fields(HOST_KEYS), "one machine", range=c.label.range, keys=HOST_KEYS)
_PROMISE = Key(ANY_NAME, {str: _promised}, "of a drill: `recover_s`, `detect_s`, `failed_requests`", range=_promised.range,
               schema={"type": "object", "additionalProperties": _promised.schema})  # fmt: skip
INVENTORY_KEYS = (
    Key("cluster", c.identifier, "the cluster's name, and that of its state folder", "required",
        "is missing: the cluster's name, such as prod"),
    Key("hosts", {str: fields(HOST_KEYS)}, "the machines, by name", "required", "is missing: the machines", keys=(_HOSTS,)),
    Key("datacenter", c.identifier, "Consul's name for the place the machines are in", "the cluster's name"),
    Key("domain", c.domain, "a name that the balancers answer until the first service is published",
        "plain HTTP until then"),
    _program("consul", OLDEST_CONSUL, "1.22.7"),
    _program("caddy", OLDEST_CADDY, "2.11.2"),
    Key("defaults", fields(DEFAULT_KEYS), "SSH settings of every host that does not say otherwise", "none",
        keys=DEFAULT_KEYS),
    Key("firewall", c.flag, "whether the toolkit sets the hosts' firewall", "`true`"),
    Key("admin_from", _networks, "from where SSH is let in; your own address must be among them", "from anywhere"),
    Key("promises", {str: {str: _promised}}, "what drills are held to, tighter than the toolkit's own promises",
        "the toolkit's own (`inv chaos.list`)", keys=(_PROMISE,)),
    Key("https", fields(_HTTPS), "certificates of the services' domains", "ACME; Caddy's own CA for private names",
        keys=_HTTPS),
)  # fmt: skip
