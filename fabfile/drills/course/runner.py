"""Runs one drill: steady state, load, arm, inject, watch, undo, steady state, verdict. Acts on hosts and Consul."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from ...core.errors import HostError, Refused
from ...edge.consul import service_operations
from ...edge.deploy import lock
from ...edge.ssh.connection import Remote
from ...edge.ssh.fanout import for_each_host
from ...edge.ssh.fleet import Fleet
from ..faults import catalogue, targets
from ..verdict.record import Record, nearest_rank
from .conclude import conclude
from .drill import DrillRun, OnMoment
from .fault_driver import FaultDriver, Power
from .interrupts import Interrupts
from .load import Load
from .plan import DrillPlan
from .prober import Prober, not_steady

STEADY_TIMEOUT = 15.0  # seconds for the steady state before the fault
SETTLE_TIMEOUT = 120.0  # seconds for it after the undo
WAKE_TIME = 3.0  # seconds in which a woken or rejoined manager could still do wrong, before its history is read
LOAD_WARMUP = 2.0  # seconds of load before the fault
UNDO_ATTEMPTS = 3
POLL_INTERVAL = 0.1  # seconds between two looks at what the prober observed
OnRequests = Callable[[int, int, float | None], None]  # requests sent, failed, and the median in ms


def run_drill(
    fleet: Fleet, plan: DrillPlan, power: Power | None, on_moment: OnMoment, on_requests: OnRequests = lambda *_: None
) -> Record:
    """Refused when the steady state does not hold; HostError when the undo cannot be armed.

    Ctrl-C, SIGTERM and a closed terminal undo the fault and give ABORTED. The undo is tried whatever else happens, and
    the hosts' own timers stand behind it.
    """
    run, began_unix = DrillRun(fleet.cluster, plan, on_moment, time.monotonic()), time.time()
    servers = sorted(service_operations.managers(fleet), key=lambda r: r.host.name in plan.target.hosts)
    target_remotes = [fleet[name] for name in plan.target.hosts]
    driver = FaultDriver(secrets.token_hex(6), plan.fault.name, plan.ttl, power)
    purpose = f"drill {plan.fault.name} on {plan.target.text}"
    with (
        lock.held([*servers, *(r for r in target_remotes if r not in servers)], purpose),
        Interrupts() as interrupts,
        ExitStack() as stack,
    ):
        prober = Prober(servers, run.observe, plan.watch_command, target_remotes)
        run.add_moment(_now(run), "phase", "steady state")
        prober.start()
        stack.callback(prober.stop)
        _await_steady_state(run, interrupts)
        load = stack.enter_context(Load(plan.load_target, plan.load_rate, run.began)) if plan.load_target else None
        _check_load(run, load, on_requests)
        _arm(run, driver, target_remotes)
        try:
            _inject(run, driver, target_remotes, interrupts)
            _await_recovery_or_timeout(run, load, prober, on_requests, interrupts)
        except HostError as error:
            run.abort_reason = error.message
            run.add_moment(_now(run), "abort", error.message)
        finally:
            _undo(run, driver, target_remotes)
        _await_steady_state_again(run, load, prober, on_requests, interrupts)
        if load:
            load.stop()
    return conclude(run, fleet, began_unix, prober.error, list(load.samples) if load else [])


def _now(run: DrillRun) -> float:
    return time.monotonic() - run.began


def _ticks(run: DrillRun, load: Load | None, on_requests: OnRequests) -> Iterator[float]:
    """The drill's time, every POLL_INTERVAL; reports the requests so far."""
    while True:
        _report_requests(load, on_requests)
        yield _now(run)
        time.sleep(POLL_INTERVAL)


def _report_requests(load: Load | None, on_requests: OnRequests) -> None:
    if load:
        samples = list(load.samples)
        good = sorted(s.ms for s in samples if s.ok)
        on_requests(len(samples), len(samples) - len(good), nearest_rank(good, 50))


def _await_steady_state(run: DrillRun, interrupts: Interrupts) -> None:
    """Refused, with nothing done, when it does not hold in time."""
    while True:
        last = run.observations[-1] if run.observations else None
        problems = not_steady(last, run.cluster) if last else ("nothing was seen yet",)
        command = run.plan.watch_command
        if command and last and len(last.watch_output) < len(run.plan.target.hosts):
            problems = (*problems, f"`{' '.join(command)}` says nothing on a target")
        if interrupts.cause:
            raise Refused(f"{interrupts.cause}; nothing was injected")
        if not problems:
            return
        if _now(run) > STEADY_TIMEOUT:
            hint = "nothing was injected; inv status says more"
            raise Refused(f"the cluster is not steady: {'; '.join(problems)}", hint)
        time.sleep(POLL_INTERVAL)


def _check_load(run: DrillRun, load: Load | None, on_requests: OnRequests) -> None:
    """Users must get answers before the fault, or the answers during it prove nothing. Refused when they do not."""
    if load is None:
        return
    run.add_moment(_now(run), "phase", "load")
    time.sleep(LOAD_WARMUP)
    _report_requests(load, on_requests)
    samples, target = list(load.samples), load.target
    if failed := [s for s in samples if not s.ok]:
        raise Refused(
            f"{len(failed)} of {len(samples)} requests to {target.domain} at {target.address} failed "
            f"before the fault: {failed[-1].error}",
            "nothing was injected; mend it, or leave the requests out: --no-load",
        )
    if not samples:
        raise Refused(
            f"{target.address} gave no answer in {LOAD_WARMUP:.0f} s",
            "nothing was injected; leave requests out: --no-load",
        )


def _arm(run: DrillRun, driver: FaultDriver, target_remotes: Sequence[Remote]) -> None:
    """On every host, or on none."""
    plan = run.plan
    run.add_moment(_now(run), "phase", "arming the undo")

    def arm(remote: Remote) -> None:
        peers = targets.peer_addresses(plan.fault, remote.host.name, plan.target, run.cluster, plan.addresses)
        driver.arm(remote, catalogue.script_arguments(plan.fault, plan.values, plan.target.service, peers))

    _, errors = for_each_host(target_remotes, arm)
    if errors:
        for_each_host(target_remotes, driver.revert)
        raise errors[0]


def _inject(run: DrillRun, driver: FaultDriver, target_remotes: Sequence[Remote], interrupts: Interrupts) -> None:
    if interrupts.cause:
        return
    run.add_moment(_now(run), "phase", "fault")
    run.mark_injected(_now(run))
    seen, errors = for_each_host(target_remotes, driver.inject)
    for host, text in seen.items():
        if text:
            run.add_moment(_now(run), "note", f"{host}: {text}")
    if errors:
        raise errors[0]


def _await_recovery_or_timeout(
    run: DrillRun, load: Load | None, prober: Prober, on_requests: OnRequests, interrupts: Interrupts
) -> None:
    """Until the cluster recovered, the hold time or the longest wait is over, or there is a reason to stop."""
    for now in _ticks(run, load, on_requests):
        stop = interrupts.cause or prober.error or run.stop_reason(now, list(load.samples) if load else [])
        if stop:
            run.abort_reason = stop
            run.add_moment(now, "abort", stop)
            return
        if now - (run.fault_at_s or now) >= run.max_fault_s or (not run.plan.hold and run.recovered_s is not None):
            return


def _undo(run: DrillRun, driver: FaultDriver, target_remotes: Sequence[Remote]) -> None:
    """A failed undo is tried again, and reported loudly if it still fails."""
    run.add_moment(_now(run), "phase", "healing")
    for _ in range(UNDO_ATTEMPTS):
        _, errors = for_each_host(target_remotes, driver.revert)
        if not errors:
            run.mark_healed(_now(run))
            return
        time.sleep(1.0)
    run.problems += [f"the undo failed on {error.host}: {error.message}" for error in errors]
    for error in errors:
        run.add_moment(_now(run), "abort", f"THE UNDO FAILED on {error.host}: {error.message}. Run inv chaos.heal")


def _await_steady_state_again(
    run: DrillRun, load: Load | None, prober: Prober, on_requests: OnRequests, interrupts: Interrupts
) -> None:
    """The whole steady state, in two observations; another interrupt ends the wait, as nothing is left to undo."""
    run.add_moment(_now(run), "phase", "steady again")
    began_s, interrupts_before = _now(run), interrupts.count
    managers_hit = targets.touches_managers(run.plan.fault, run.plan.target, run.cluster)
    for now in _ticks(run, load, on_requests):
        healed_at_s = run.healed_at_s
        after = [o for o in run.observations[-2:] if healed_at_s is not None and o.asked_at - run.began > healed_at_s]
        steady = len(after) == 2 and not any(run.not_recovered(o) for o in after)
        if steady and now - began_s > (WAKE_TIME if managers_hit else 0.0):
            return
        timed_out = now - began_s > SETTLE_TIMEOUT
        if healed_at_s is None or prober.error or interrupts.count > interrupts_before or timed_out:
            break
    problems = run.not_recovered(run.observations[-1])
    if run.healed_at_s is not None and problems:
        run.problems.append(f"not steady {_now(run) - began_s:.0f} s after the undo: {'; '.join(problems)}")
