"""What travels through Consul's KV store: the names of the keys and the shapes of their JSON values.

The operator writes WANTED and ROUTES (`inv deploy`), the primary orchestrator ORDERS, EVENTS and EPOCH, each worker
its own REPORT. ACLs hold everybody to that.

WANTED  {"digest": str, "services": {name: spec}}; a spec is what fabfile/core/config/services.py makes of services.yml:
        {"name", "command": [str] | null, "image": str | null, "port": int | null, "target_port": int | null,
         "check": {"kind": "http" | "tcp" | "ttl", "path": str, "interval": s, "timeout": s}, "env": {str: str},
         "user": str | null, "memory_mb": int | null, "cpu": cores | null, "stop_timeout": s, "revision": str,
         "replicas": {"all": bool, "min": int, "max": int, "cpu": percent of one core | null}, "labels": {str: str}}
ROUTES  {"routes": [{"service", "domain", "path", "check_path": str | null, "headers": {str: str | null}, "timeout": s}]}
ORDERS  {"epoch": int, "services": {name: spec}}: what one worker is to run
REPORT  {"epoch": int, "at": unix s, "services": {name: {"revision", "state", "since": unix s, "cpu": percent | null,
         "restarts": int, "note": str}}}; state: starting | running | looping | stopping | failed
EVENTS  one key each, EPOCH-NUMBER ascending: {"at": unix s, "epoch", "host": who acted, "session", "kind", "text",
         "service"?, "target"?: the host it happened to}
BEAT    {"session", "beat": int}: what the primary writes every two seconds, for the standbys to hear
PROMOTE {"to": host}: an operator's wish; with "ready": session, once that host has said that it can
SCALES  {service: replicas}: what autoscaling has arrived at
"""

from __future__ import annotations

PRIMARY = "nexus/primary"
EPOCH = "nexus/epoch"
WANTED = "nexus/wanted/services"
ROUTES = "nexus/services/routes"
PLACEMENT = "nexus/placement/"
REPORTS = "nexus/report/"
SCALES = "nexus/scale"
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
    """The systemd unit (and the container) of a service's instance: at most one instance of a service on a host."""
    return f"nexus-svc-{service}.service"


def instance_id(service: str) -> str:
    """The id under which an instance is registered with its host's Consul agent."""
    return f"nexus-svc-{service}"
