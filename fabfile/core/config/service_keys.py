"""Every key of services.yml, declared once. `model.service.Service` has the field that holds each value.

A new key: an entry here, a field there, and whoever acts on it (the worker's unit, the balancer's route). The tables of
docs/SERVICES.md and docs/schema/services.schema.json follow by `inv docs`.
"""

from __future__ import annotations

from . import service_texts as t
from . import service_values as v
from . import value_checks as c
from .keys import ANY_NAME, Key
from .schema import name_of_entry

_AT_BALANCER = "needs a domain; the load balancer"

NAME = Key(ANY_NAME, v.name, "of the service")
SERVICE_KEYS = (
    Key("command", t.command,
        "what to run: a list, or one text that is split as a shell would. No shell runs it: what one would act on "
        "(`\\|`, `&&`, `>`, `$VAR`) is refused in a text unless it is quoted; for a shell, write `[sh, -c, \"…\"]`. The "
        "program is a path from `/` on, or a name found in PATH. This or `image`", as_written=True),
    Key("image", v.image, "a Docker image. This or `command`"),
    Key("args", t.args, "an image's arguments, in place of its own command", "the image's own", as_written=True,
        needs=(("image", "is for an image; the arguments of a command follow it in its list"),)),
    Key("port", v.port, "where it listens, on every host that gets it", "none: it listens nowhere"),
    Key("target_port", c.port, "the port inside the container", "`port`",
        range="1–65535; wants `image` and `port`",
        needs=(("image", "is a container's port; a command listens on port itself"),)),
    Key("check", v.check, "how Consul learns that an instance is well: [below](#checks)", "`tcp` with a port, else `ttl`",
        range="one of `http`, `tcp`, `ttl`", keys=v.CHECK_KEYS),
    Key("replicas", v.replicas, "how many instances, each on another worker", "1",
        range=f"0–{v.MOST_REPLICAS}, `all`, or `{{min, max, cpu}}`", keys=v.SCALE_KEYS),
    Key("labels", {name_of_entry(c.tag): c.tag}, "a worker must have all of these in `hosts.yml`", "any worker",
        range=c.tag.range, schema={"type": "object", "additionalProperties": c.tag.schema}),
    Key("env", {name_of_entry(t.variable): t.env_value}, "the environment", "none", range=t.env_value.range,
        schema={"type": "object", "additionalProperties": t.env_value.schema}, as_written=True),
    Key("user", v.user,
        "who runs it. Of a command: a user of the host; of an image: a user of the image, by name or number, with a group "
        "if need be (`1000:1000`)", "a command: one made for this service alone; an image: its own"),
    Key("memory", v.memory, "limit; over it, the process is killed and started again", "none"),
    Key("cpu", v.number(0.01, 1024, "a number of cores (0.01-1024)", whole=False), "limit, in cores", "none"),
    # to systemd, 0 is for ever
    Key("stop_timeout", v.duration(1, 3600), "from being asked to stop to being killed", "10 s"),
    Key("domain", c.domain, "the DNS name under which the load balancers offer it", "not offered",
        range="two labels or more; wants `port`",
        needs=(("port", "needs a port: the load balancer has to reach the service somewhere"),)),
    Key("path", v.path, "prefix of the path, passed on as it is", "`/`", range=f"{v.path.range}; wants `domain`",
        needs=(("domain", "needs a domain, below which it lies"),)),
    Key("headers", {name_of_entry(t.header_name): t.header_value},
        "of the answers, on top of the balancer's own; `null` takes one away", "none",
        range=f"{t.header_value.range}; wants `domain`",
        schema={"type": "object", "additionalProperties": t.header_value.schema}, as_written=True,
        needs=(("domain", f"{_AT_BALANCER} sets them"),)),
    Key("timeout", v.duration(0.1, 3600), "how long the balancer waits for the first byte", "10 s",
        range="100 ms – 1 h; wants `domain`",
        needs=(("domain", f"{_AT_BALANCER} waits that long (a check has its own timeout)"),)),
)  # fmt: skip
