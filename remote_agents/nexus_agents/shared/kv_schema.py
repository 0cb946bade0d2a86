"""The data in Consul's KV store: the names of the keys and the shapes of their JSON values.

The operator writes WANTED and ROUTES (`inv deploy`), the primary orchestrator ORDERS, EVENTS and EPOCH, each worker
its own REPORT. ACLs enforce that.

WANTED  {"digest": str, "services": {name: spec}}; fabfile/core/config/services.py makes a spec from services.yml:
        {"name", "command": [str] | null, "image": str | null, "port": int | null, "target_port": int | null,
         "check": {"kind": "http" | "tcp" | "ttl", "path": str, "interval": s, "timeout": s}, "env": {str: str},
         "user": str | null, "memory_mb": int | null, "cpu": cores | null, "stop_timeout": s, "revision": str,
         "check_host"?: the domain that an http check names as its host,
         "replicas": {"all": bool, "min": int, "max": int, "cpu": percent of one core | null}, "labels": {str: str}}
ROUTES  {"routes": [{"service", "domain", "path", "check_path": str | null, "headers": {str: str | null}, "timeout": s}]}
ORDERS  {"epoch": int, "services": {name: spec}}: the services that one worker runs
REPORT  {"epoch": int, "at": unix s, "services": {name: {"revision", "state", "cpu": percent | null, "restarts": int,
         "failures": int, "note": str}}}; state: pulling | pull-failed | starting | running | looping | stopping | failed.
         While an image is pulled, an older version may go on, in its revision
EVENTS  one key each, EPOCH-NUMBER ascending: {"at": unix s, "epoch", "host": who acted, "session", "kind", "text",
         "service"?, "target"?: the affected host}
BEAT    {"session", "beat": int}: the primary's heartbeat, written every second and watched by the standbys
PROMOTE {"to": host}: an operator's request; with "ready": session, once that host is ready to take over
MISFITS {service: {host: {"revision", "until": unix s, "why": str}}}: where a service could not live, and for how long the
        primary prefers any other worker
SCALES  {service: replicas}: the autoscaler's current numbers
"""

from __future__ import annotations

PRIMARY = "nexus/primary"
EPOCH = "nexus/epoch"
WANTED = "nexus/wanted/services"
ROUTES = "nexus/services/routes"
PLACEMENT = "nexus/placement/"
REPORTS = "nexus/report/"
SCALES = "nexus/scale"
MISFITS = "nexus/misfits"
PROMOTE = "nexus/promote"
BEAT = "nexus/beat"
EVENTS = "nexus/events/"


def orders_key(host: str) -> str:
    return f"{PLACEMENT}{host}/orders"


def report_key(host: str) -> str:
    return f"{REPORTS}{host}/state"


def host_of(key: str) -> str:
    """`nexus/placement/w1/orders` -> `w1`."""
    return key.split("/")[2]


def unit_name(service: str) -> str:
    """The systemd unit of a service's instance: at most one instance of a service on a host."""
    return f"nexus-svc-{service}.service"


def instance_id(service: str) -> str:
    """The instance's id at its host's Consul agent, and the name of its container."""
    return f"nexus-svc-{service}"
