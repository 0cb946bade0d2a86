"""Services in containers: their engine, their images, their checks, and what is the operator's own beside them."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from fabfile.drills.course.load import Load, LoadTarget
from fabfile.drills.course.load_connections import context_for, fetch
from fabfile.lab import service_image as images
from fabfile.lab.compose import NODES

from .conftest import Lab, eventually, hosts_of

pytestmark = pytest.mark.lab
WORKERS = ("m1", "w1", "w2")


def test_a_missing_client_is_seen_before_a_service_needs_it(services_lab: Lab) -> None:
    """Docker without its client, as on a Debian 13: detect and plan name the host. What runs goes on."""
    [host] = hosts_of(services_lab, "boxed")
    services_lab.run(host, "mv /usr/bin/docker /usr/bin/docker.off")
    try:
        seen = {h["name"]: h["docker"] for h in json.loads(services_lab.inv("detect", "--json").stdout)["hosts"]}
        assert seen[host] == "clientless"
        assert f"the client /usr/bin/docker on {host}" in services_lab.inv("plan").stdout
        assert hosts_of(services_lab, "boxed") == [host]
    finally:
        services_lab.run(host, "mv /usr/bin/docker.off /usr/bin/docker")
    assert services_lab.inv("plan").returncode == 0


@pytest.mark.long
def test_a_deploy_brings_a_missing_client_back(services_lab: Lab) -> None:
    """Needs the host's package sources. No container is restarted for it."""
    [host] = hosts_of(services_lab, "boxed")
    if "apt-get: ok" not in services_lab.run(host, "apt-get update -qq >/dev/null 2>&1 && echo apt-get: ok", check=False):
        pytest.skip("no package sources from a lab host")
    before = services_lab.run(host, "docker inspect -f '{{.State.Pid}}' nexus-svc-boxed")
    services_lab.run(host, "mv /usr/bin/docker /usr/bin/docker.off")
    try:
        services_lab.deploy()
        assert services_lab.run(host, "docker inspect -f '{{.State.Pid}}' nexus-svc-boxed") == before
    finally:
        services_lab.run(host, "[ -e /usr/bin/docker ] || cp /usr/bin/docker.off /usr/bin/docker; rm -f /usr/bin/docker.off")
    assert services_lab.inv("plan").returncode == 0


def boxed_with(lab: Lab, image: str) -> str:
    """services.yml with another image for boxed. Returns the old text."""
    file = lab.inventory.parent / "services.yml"
    before = file.read_text()
    file.write_text(before.replace(f"image: {images.IMAGE}", f"image: {image}"))
    return before


def test_an_image_that_cannot_be_pulled_stops_nothing(services_lab: Lab) -> None:
    """The deploy says so soon, service.list says why in Docker's words, and the old version serves on."""
    [host] = hosts_of(services_lab, "boxed")
    file = services_lab.inventory.parent / "services.yml"
    others = [h for h in WORKERS if h != host]
    with Load(LoadTarget("127.0.7.6", "boxed.lab.test"), rate=10) as load:
        before = boxed_with(services_lab, "127.0.0.1:5999/none:1")
        try:
            done = services_lab.inv("service.deploy", "--yes")
            assert done.returncode == 1
            listed = services_lab.inv("service.list")
            assert any(f"boxed on {h}: cannot pull 127.0.0.1:5999/none:1" in listed.stderr for h in others)
            assert "connection refused" in listed.stderr
            assert host in hosts_of(services_lab, "boxed")
        finally:
            file.write_text(before)
            services_lab.inv_ok("service.deploy", "--yes")
    assert load.failed() == []
    for other in others:
        services_lab.eventually(other, "! systemctl list-units --all --plain --no-legend 'nexus-pull-*' | grep .")


# An OCI registry with one image, from the folder of a `docker save`; the layer takes SLOW seconds.
_REGISTRY = """
import hashlib, http.server, json, pathlib, sys, time
folder, slow = pathlib.Path(sys.argv[1]), float(sys.argv[2])
[saved] = json.loads((folder / "manifest.json").read_text())
blobs = {}
def blob(name, kind):
    data = (folder / name).read_bytes()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"mediaType": kind, "size": len(data), "digest": digest}
docker = "application/vnd.docker."
manifest = json.dumps({"schemaVersion": 2, "mediaType": docker + "distribution.manifest.v2+json",
    "config": blob(saved["Config"], docker + "container.image.v1+json"),
    "layers": [blob(l, docker + "image.rootfs.diff.tar") for l in saved["Layers"]]}).encode()
config = json.loads(manifest)["config"]["digest"]
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        data = manifest if "/manifests/" in self.path else blobs.get(name, b"{}")
        kind = docker + "distribution.manifest.v2+json" if data is manifest else "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(data).hexdigest())
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            if name in blobs and name != config:
                time.sleep(slow)
            self.wfile.write(data)
    do_HEAD = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), H).serve_forever()
"""


@pytest.mark.long
def test_a_pull_may_take_longer_than_a_start(services_lab: Lab) -> None:
    """100 s here: the old version serves all the while, the state is `pulling`, and the deploy waits for the end."""
    file = services_lab.inventory.parent / "services.yml"
    for host in WORKERS:
        services_lab.run(host, f"systemctl start docker; mkdir -p /run/lab-registry && cd /run/lab-registry && "
                               f"docker save {images.IMAGE} | tar x && cat >registry.py", stdin=_REGISTRY)  # fmt: skip
        services_lab.run(host, "systemd-run --unit=lab-registry python3 /run/lab-registry/registry.py /run/lab-registry 100")
    with Load(LoadTarget("127.0.7.6", "boxed.lab.test"), rate=10) as load, ThreadPoolExecutor(1) as pool:
        before = boxed_with(services_lab, "127.0.0.1:5000/boxed:1")
        try:
            deploy = pool.submit(services_lab.inv, "service.deploy", "--yes", timeout=400)
            eventually(lambda: ":pulling" in services_lab.inv("service.list").stdout, 60)
            done = deploy.result()
            assert (done.returncode, "pulling its image on" in done.stdout + done.stderr) == (0, True)
        finally:
            file.write_text(before)
            services_lab.inv_ok("service.deploy", "--yes")
            for host in WORKERS:
                services_lab.run(host, "systemctl stop lab-registry; docker rmi 127.0.0.1:5000/boxed:1", check=False)
    assert load.failed() == []


# As Django and Rails do: 400 to a Host that it does not know, and HTTP is sent to HTTPS.
_PICKY = """
import http.server as h, os
class C(h.BaseHTTPRequestHandler):
    def do_GET(s):
        known = s.headers["Host"] in os.environ["ALLOWED"].split()
        s.send_response(400 if not known else 200 if s.headers["X-Forwarded-Proto"] == "https" else 301)
        s.send_header("Location", "https://gone.invalid/")
        s.end_headers()
    def log_message(s, *a): pass
h.ThreadingHTTPServer(("", int(os.environ["PORT"])), C).serve_forever()
"""


def _answers(target: LoadTarget) -> bool:
    try:
        return fetch(target, context_for(target))[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_check_asks_as_users_do(services_lab: Lab) -> None:
    """A program that refuses foreign Hosts and plain HTTP becomes healthy. Another domain replaces no instance; one that the
    program refuses shows with its answer."""
    file = services_lab.inventory.parent / "services.yml"
    before = file.read_text()
    picky = {
        "command": ["python3", "-c", f"exec({_PICKY!r})"], "port": 8090, "replicas": 2,
        "check": {"http": "/", "interval": "1s", "timeout": "1s"}, "env": {"ALLOWED": "a.lab.test b.lab.test"},
    }  # fmt: skip

    def deploy(domain: str) -> int:
        file.write_text(before + f"  picky: {json.dumps({**picky, 'domain': domain})}\n")
        return services_lab.inv("service.deploy", "--name", "picky", "--yes").returncode

    def pids() -> dict[str, str]:
        shown = {h: services_lab.run(h, "systemctl show -P MainPID nexus-svc-picky.service").strip() for h in WORKERS}
        return {h: pid for h, pid in shown.items() if pid != "0"}

    try:
        assert deploy("a.lab.test") == 0
        ours = pids()
        assert deploy("b.lab.test") == 0
        eventually(lambda: _answers(LoadTarget("127.0.7.6", "b.lab.test")), 20)
        with Load(LoadTarget("127.0.7.6", "b.lab.test"), rate=10) as load:
            eventually(lambda: len(hosts_of(services_lab, "picky")) == 2, 10)
        assert (pids(), load.failed()) == (ours, [])
        deploy("c.lab.test")
        eventually(lambda: "400 Bad Request" in services_lab.inv("service.list").stderr, 30)
    finally:
        file.write_text(before)
        services_lab.deploy()


def test_a_container_reaches_the_services_of_its_own_host(services_lab: Lab) -> None:
    """hello's port, on each worker from the network of a container there; Consul's port stays shut."""
    services_lab.inv_ok("service.scale", "hello", "3", "--yes")
    addresses = {node.name: node.cluster for node in NODES}
    try:
        for host in hosts_of(services_lab, "hello"):
            ask = (
                "docker run --rm --name theirs-curl -d nexus-lab/boxed:1 /bin/busybox sleep 60 >/dev/null && "
                "nsenter -n -t $(docker inspect -f '{{{{.State.Pid}}}}' theirs-curl) "
                "curl -s -m 3 http://{}:{}/health; code=$?; docker rm -f theirs-curl >/dev/null; exit $code"
            )
            for other in (host, "w1", "w2"):
                assert "hello from" in services_lab.run(host, ask.format(addresses[other], 8080))
            assert services_lab.run(host, ask.format(addresses[host], 8301) + "; true", check=False) == ""
    finally:
        services_lab.inv_ok("service.scale", "hello", "2", "--yes")


@pytest.mark.parametrize("for_real", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_stop_of_docker_names_and_restores_what_is_not_ours(services_lab: Lab, for_real: bool) -> None:
    """A container beside the cluster's own: named by the dry run and by the drill, and running again afterwards."""
    [host] = hosts_of(services_lab, "boxed")
    services_lab.run(host, f"docker run -d --name theirs {images.IMAGE} /bin/busybox sleep 9999")
    running = "docker inspect -f '{{.State.Running}}' theirs"
    try:
        options = ["--yes", "--no-load"] if for_real else ["--dry-run"]
        said = services_lab.inv("chaos.stop-docker", "--target", "service:boxed", *options, timeout=300)
        assert said.returncode == 0, said.stderr
        assert f"theirs on {host}" in said.stdout + said.stderr
        assert services_lab.run(host, running).strip() == "true"
    finally:
        services_lab.run(host, "docker rm -f theirs")


def test_what_could_not_come_back_is_refused(services_lab: Lab) -> None:
    [host] = hosts_of(services_lab, "boxed")
    services_lab.run(host, f"docker run -d --rm --name theirs {images.IMAGE} /bin/busybox sleep 9999")
    try:
        done = services_lab.inv("chaos.stop-docker", "--target", "service:boxed", "--yes", "--no-load", timeout=120)
        assert done.returncode != 0
        assert "theirs is not the cluster's, and was started with --rm" in " ".join(done.stderr.split())
        assert services_lab.run(host, "docker inspect -f '{{.State.Running}}' theirs").strip() == "true"
    finally:
        services_lab.run(host, "docker rm -f theirs", check=False)


@pytest.mark.long
@pytest.mark.parametrize(("options", "told"), [
    ((), "consul.service was reloaded and goes on with what it had"),
    (("--path", "/etc/nexus/worker.json"), "nexus-worker.service was restarted and cannot start with this file"),
])  # fmt: skip
def test_a_broken_file_is_met_by_its_program(services_lab: Lab, options: tuple[str, ...], told: str) -> None:
    """The timeline says what became of it; services go on, and all is steady after the undo."""
    done = services_lab.inv("chaos.corrupt-config", "--target", "w1", *options, "--yes", "--json", timeout=300)
    record = json.loads(done.stdout)
    assert record["verdict"] == "PASS", record["why"]
    [note] = [m["text"] for m in record["timeline"] if m["kind"] == "note"]
    assert note.startswith(f"w1: {told}")
