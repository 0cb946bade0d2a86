"""One course for every drill: steady, armed, under load, hurt, watched, healed, steady again, judged. The effectful file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from ...core.errors import HostError, Refused
from ...edge.consul import service_operations as serve
from ...edge.deploy import lock
from ...edge.ssh.connection import Remote
from ...edge.ssh.fanout import each
from ...edge.ssh.fleet import Fleet
from ..faults import catalogue as faults
from ..faults import targets
from ..verdict.record import Record, nearest_rank
from .conclude import record_of
from .drill import DrillRun, Tell
from .fault_driver import FaultDriver, Power
from .interrupts import Interrupts
from .load import Load
from .plan import Plan
from .prober import Prober, not_steady

STEADY = 15.0  # seconds for the steady state before the fault
SETTLE = 120.0  # seconds for it after the undo
WAKE = 3.0  # seconds in which a woken or rejoined manager could still do wrong, before its history is read
RATE = 20.0  # requests a second
TURN = 0.1  # seconds between two looks at what the prober has found
Count = Callable[[int, int, float | None], None]  # requests sent, failed, and the median in ms


def drill(fleet: Fleet, plan: Plan, power: Power | None, tell: Tell, count: Count = lambda *_: None) -> Record:
    """The whole course. Refused when the steady state does not hold; HostError when the undo cannot be armed.

    Ctrl-C, SIGTERM and a closed terminal heal, and are told as ABORTED. Whatever else happens, the undo is tried, and
    the hosts' own timers stand behind it.
    """
    run, wall = DrillRun(fleet.cluster, plan, tell, time.monotonic()), time.time()
    servers = sorted(serve.managers(fleet), key=lambda r: r.host.name in plan.target.hosts)
    target_remotes = [fleet[name] for name in plan.target.hosts]
    driver = FaultDriver(secrets.token_hex(6), plan.fault.name, plan.ttl, power)
    what = f"drill {plan.fault.name} on {plan.target.text}"
    with (
        lock.held([*servers, *(r for r in target_remotes if r not in servers)], what),
        Interrupts() as interrupts,
        ExitStack() as stack,
    ):
        prober = Prober(servers, run.observe, plan.watch, target_remotes)
        run.note(_now(run), "phase", "steady state")
        prober.start()
        stack.callback(prober.stop)
        _await_steady(run, interrupts)
        load = stack.enter_context(Load(plan.load_target, RATE, run.began)) if plan.load_target else None
        _await_answers(run, load, count)
        _arm(run, driver, target_remotes)
        try:
            _hurt(run, driver, target_remotes, interrupts)
            _watch(run, load, prober, count, interrupts)
        except HostError as error:
            run.aborted = error.message
            run.note(_now(run), "abort", error.message)
        finally:
            _heal(run, driver, target_remotes)
        _await_recovery(run, load, prober, count, interrupts)
        if load:
            load.stop()
    return record_of(run, fleet, wall, prober.broken, list(load.samples) if load else [])


def _now(run: DrillRun) -> float:
    return time.monotonic() - run.began


def _turns(run: DrillRun, load: Load | None, count: Count) -> Iterator[float]:
    """The drill's clock, a few times a second, telling the requests so far."""
    while True:
        _count(load, count)
        yield _now(run)
        time.sleep(TURN)


def _count(load: Load | None, count: Count) -> None:
    if load:
        samples = list(load.samples)
        good = sorted(s.ms for s in samples if s.ok)
        count(len(samples), len(samples) - len(good), nearest_rank(good, 50))


def _await_steady(run: DrillRun, interrupts: Interrupts) -> None:
    """Refused, with nothing done, when it does not hold in time."""
    while True:
        last = run.seen[-1] if run.seen else None
        problems = not_steady(last, run.cluster) if last else ("nothing was seen yet",)
        if run.plan.watch and last and len(last.watched) < len(run.plan.target.hosts):
            problems = (*problems, f"`{' '.join(run.plan.watch)}` says nothing on a target")
        if interrupts.came:
            raise Refused(f"{interrupts.came}; nothing was injected")
        if not problems:
            return
        if _now(run) > STEADY:
            raise Refused(f"the cluster is not steady: {'; '.join(problems)}", "nothing was injected; inv status says more")
        time.sleep(TURN)


def _await_answers(run: DrillRun, load: Load | None, count: Count) -> None:
    """Users must get answers before the fault, or what they get during it says nothing. Refused when they do not."""
    if load is None:
        return
    run.note(_now(run), "phase", "load")
    time.sleep(2.0)
    _count(load, count)
    samples = list(load.samples)
    if bad := [s for s in samples if not s.ok]:
        raise Refused(
            f"{len(bad)} of {len(samples)} requests to {load.target.domain} at {load.target.address} failed "
            f"before the fault: {bad[-1].why}",
            "nothing was injected; mend it, or leave the requests out: --no-load",
        )
    if not samples:
        raise Refused(
            f"{load.target.address} gave no answer in 2 s", "nothing was injected; leave requests out: --no-load"
        )


def _arm(run: DrillRun, driver: FaultDriver, target_remotes: Sequence[Remote]) -> None:
    """On every host, or on none."""
    plan = run.plan
    run.note(_now(run), "phase", "arming the undo")

    def one(remote: Remote) -> None:
        peers = targets.peers(plan.fault, remote.host.name, plan.target, run.cluster, plan.where)
        driver.arm(remote, faults.script_arguments(plan.fault, plan.values, plan.target.service, peers))

    _, left = each(target_remotes, one)
    if left:
        each(target_remotes, driver.revert)
        raise left[0]


def _hurt(run: DrillRun, driver: FaultDriver, target_remotes: Sequence[Remote], interrupts: Interrupts) -> None:
    if interrupts.came:
        return
    run.note(_now(run), "phase", "fault")
    run.mark_injected(_now(run))
    _, left = each(target_remotes, driver.inject)
    if left:
        raise left[0]


def _watch(run: DrillRun, load: Load | None, prober: Prober, count: Count, interrupts: Interrupts) -> None:
    """Until it has recovered, or has been held for long enough, or its time is up, or a stop condition holds."""
    for now in _turns(run, load, count):
        stop = interrupts.came or prober.broken or run.stop_reason(now, list(load.samples) if load else [])
        if stop:
            run.aborted = stop
            run.note(now, "abort", stop)
            return
        if now - (run.fault_at or now) >= run.limit or (not run.plan.hold and run.recovered is not None):
            return


def _heal(run: DrillRun, driver: FaultDriver, target_remotes: Sequence[Remote]) -> None:
    """The undo itself, three times where it fails; said loudly where it stays so."""
    run.note(_now(run), "phase", "healing")
    for _ in range(3):
        _, left = each(target_remotes, driver.revert)
        if not left:
            run.mark_healed(_now(run))
            return
        time.sleep(1.0)
    run.troubles += [f"the undo failed on {f.host}: {f.message}" for f in left]
    for fault in left:
        run.note(_now(run), "abort", f"THE UNDO FAILED on {fault.host}: {fault.message}. Run inv chaos.heal")


def _await_recovery(run: DrillRun, load: Load | None, prober: Prober, count: Count, interrupts: Interrupts) -> None:
    """The whole steady state, by two looks; a second interrupt ends the wait, for there is nothing left to undo."""
    run.note(_now(run), "phase", "steady again")
    began, before = _now(run), interrupts.count
    managers = targets.touches_managers(run.plan.fault, run.plan.target, run.cluster)
    for now in _turns(run, load, count):
        after = [s for s in run.seen[-2:] if run.healed_at is not None and s.asked - run.began > run.healed_at]
        steady = len(after) == 2 and not any(run.lacking(s) for s in after)
        if steady and now - began > (WAKE if managers else 0.0):
            return
        if run.healed_at is None or prober.broken or interrupts.count > before or now - began > SETTLE:
            break
    problems = run.lacking(run.seen[-1])
    if run.healed_at is not None and problems:
        run.troubles.append(f"not steady {_now(run) - began:.0f} s after the undo: {'; '.join(problems)}")
