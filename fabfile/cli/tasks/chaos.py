"""The chaos.* commands: one drill per fault (break it on purpose, under load, measure); list, heal, report, gameday."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

from ...core.errors import InputError
from ...drills.faults.catalogue import FAULTS
from ...drills.faults.model import TARGET_FORMS, Fault
from ..console.command import command
from ..console.inputs import load_inventory
from ..console.options import comma_list
from ..console.output import confirm, print_json, say, show_errors
from ..console.terminal import console
from ..views import drill_view

_HELP = {
    "ttl": "seconds after which the host undoes it by itself",
    "dry_run": "show the target and the promise; do nothing",
    "force": "do it though too much would go (quorum, last instance); say why, it is kept in the report",
    "no_load": "send no requests",
    "rate": "requests a second (default: 20); half of them over kept connections",
    "junit": "write the result to this file as JUnit XML",
}
_OPTIONS: dict[str, str | bool] = {
    "target": "", "ttl": "", "dry_run": False, "force": "", "no_load": False, "rate": "", "yes": False, "json": False,
    "junit": "", "inventory_": "", "debug": False,
}  # fmt: skip


def _fault_task(fault: Fault) -> Any:
    """The task of one fault; the fault's arguments are options of the command."""
    arguments = {a.name.replace("-", "_"): a for a in fault.arguments}

    def body(c: Context, **options: Any) -> None:
        values = {a.name: str(options[name]) for name, a in arguments.items()}
        _run_one(fault, values, options)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    defaults: dict[str, str | bool] = {**{name: a.default for name, a in arguments.items()}, **_OPTIONS}
    parameters = [inspect.Parameter(name, kind, default=default) for name, default in defaults.items()]
    body.__signature__ = inspect.Signature([inspect.Parameter("c", kind), *parameters])  # type: ignore[attr-defined]
    body.__name__ = fault.name.replace("-", "_")
    exit_codes = "Exit codes: 0 PASS, 1 FAIL, 3 UNKNOWN or ABORTED."
    body.__doc__ = f"{fault.does}\n\n{exit_codes} The promise: inv chaos.list --drill {fault.name}"
    helps = {name: f"{a.meaning}: {a.expected} (default: {a.default})" for name, a in arguments.items()}
    targets = ", ".join(TARGET_FORMS.get(kind, kind) for kind in fault.target_kinds)
    target_help = f"whom it hits: {targets} (default: {fault.default_target})"
    return command(name=fault.name, help={**_HELP, **helps, "target": target_help})(body)


def _run_one(fault: Fault, values: dict[str, str], options: dict[str, Any]) -> None:
    from ...drills.course.load import DEFAULT_RATE
    from ...drills.course.plan import DrillRequest
    from ...drills.report import store
    from ...edge.ssh.fleet import Fleet

    cluster = load_inventory(options["inventory_"])
    drill_view.check_writable(options["junit"])
    request = DrillRequest(
        options["target"], values, _number("ttl", "seconds", options["ttl"]), options["force"].strip(),
        not options["no_load"], _number("rate", "requests a second", options["rate"]) or DEFAULT_RATE,
    )  # fmt: skip
    with Fleet(cluster) as fleet:
        prepared = drill_view.prepare_drill(fleet, fault.name, request)
        if options["dry_run"]:
            if options["json"]:
                print_json(drill_view.plan_json(prepared.plan))
            else:
                drill_view.show_plan(prepared.plan, stderr=False)
            return
        drill_view.show_plan(prepared.plan)
        confirm(f"Do this to {cluster.name}?", options["yes"])
        record, page = drill_view.run_prepared(fleet, prepared)
    if options["json"]:
        print_json(drill_view.record_json(record, page))
    else:
        kept = store.kept_runs(drill_view.records_folder(cluster), record.drill, store.COMPARED_RUNS + 1)
        drill_view.show_record(record, [r for _, r in kept], page)
    drill_view.write_junit(options["junit"], [record])
    if code := drill_view.exit_code([record]):
        raise Exit(code=code)


def _number(option: str, unit: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 5 or not int(text):
        raise InputError([f"--{option} {text}: is not a number of {unit}"], "leave it out for the default")
    return int(text)


@command(
    name="list",
    help={"drill": "only this one", "inventory_": "show the promises of this inventory (default: the toolkit's own)"},
)
def list_(c: Context, drill: str = "", json: bool = False, inventory_: str = "", debug: bool = False) -> None:
    """Explain each drill: what it does, what is measured, what is promised, whom it can hit."""
    from ...drills.faults.catalogue import fault_named
    from ...drills.faults.explain import as_json, show
    from ...drills.faults.promises import PROMISES

    faults = [fault_named(drill)] if drill else list(FAULTS.values())
    table = drill_view.promises(load_inventory(inventory_)) if inventory_ else PROMISES
    if json:
        print_json([as_json(fault, table) for fault in faults])
    else:
        show(faults, table, console())


@command()
def heal(c: Context, inventory_: str = "", json: bool = False, debug: bool = False) -> None:
    """Find and undo whatever a drill left on any host; ends a drill that is running. Repeat it as often as you like."""
    from ...drills.course.healing import heal as undo_leftovers
    from ...edge.ssh.fleet import Fleet
    from ...lab.power import is_node, power_of

    cluster = load_inventory(inventory_)
    nodes = [(h.name, h.ssh) for h in cluster.hosts if is_node(h.name, h.ssh)]
    with Fleet(cluster) as fleet:
        undone, errors = undo_leftovers(fleet, power_of(nodes) if nodes else None, say)
    if json:
        print_json({"undone": [f"{host}: {fault}" for host, fault in undone], "failed": [e.message for e in errors]})
    show_errors(*errors)
    if errors:
        raise Exit(code=1)
    say(f"undone: {len(undone)}" if undone else f"nothing was left on the {len(cluster.hosts)} hosts of {cluster.name}")


@command(
    help={"drill": "only this one, and its last run in full", "last": "how many runs (default: 20; 0: all)",
          "open_": "open the newest page in a browser", "junit": _HELP["junit"]},
)  # fmt: skip
def report(
    c: Context, drill: str = "", last: int = 20, open_: bool = False, json: bool = False, junit: str = "",
    inventory_: str = "", debug: bool = False,
) -> None:  # fmt: skip
    """List the drills that were run, newest last; of one drill, its last run beside those before it."""
    from ...drills.faults.catalogue import fault_named
    from ...drills.report import store
    from ...drills.report.summary import runs_table

    folder = drill_view.records_folder(load_inventory(inventory_))
    drill_view.check_writable(junit)
    drill = fault_named(drill).name if drill else ""
    kept = store.kept_runs(folder, drill or None, max(last, store.COMPARED_RUNS + 1) if last else None)
    pages = [(record, path.with_suffix(".html")) for path, record in kept[-last:]]
    drill_view.write_junit(junit, [record for record, _ in pages])
    if json:
        drill_view.print_records(pages)
        return
    console().print(runs_table([record for record, _ in pages]))
    if not kept:
        say("next: inv chaos.list, inv chaos.kill-service --dry-run")
    elif drill:
        print()
        drill_view.show_record(pages[-1][0], [r for _, r in kept], pages[-1][1])
    else:
        print(f"newest: {store.newest_page(folder, pages[-1][1])}")
    if open_ and kept:
        import webbrowser

        webbrowser.open(store.newest_page(folder, pages[-1][1]).as_uri())


@command(
    help={"only": "these drills, comma list", "skip": "not these, comma list", "repeat": "so many rounds (default: 1)",
          "dry_run": "show what would be done to whom, and what is left out and why", "no_load": _HELP["no_load"],
          "junit": _HELP["junit"]},
)  # fmt: skip
def gameday(
    c: Context, only: str = "", skip: str = "", repeat: int = 1, dry_run: bool = False, no_load: bool = False,
    yes: bool = False, json: bool = False, junit: str = "", inventory_: str = "", debug: bool = False,
) -> None:  # fmt: skip
    """Run all drills that fit this cluster, one after the other, all of it steady between; one table, one page."""
    from ...drills.faults.gameday import chosen
    from ...edge.ssh.fleet import Fleet
    from ..views import gameday_view

    cluster = load_inventory(inventory_)
    drill_view.check_writable(junit)
    schedule = chosen(comma_list("--only", only), comma_list("--skip", skip), repeat)
    with Fleet(cluster) as fleet:
        if dry_run:
            gameday_view.preview(fleet, schedule, json)
            return
        confirm(f"Do {len(schedule)} drills to {cluster.name}, one after the other?", yes)
        records, page = gameday_view.run_gameday(fleet, schedule, not no_load)
    gameday_view.show(records, page, json)
    drill_view.write_junit(junit, records)
    if code := drill_view.exit_code(records):
        raise Exit(code=code)


def collection() -> Collection:
    namespace = Collection("chaos")
    tasks: list[Callable[..., Any]] = [list_, heal, report, gameday, *(_fault_task(fault) for fault in FAULTS.values())]
    for task in tasks:
        namespace.add_task(task)  # type: ignore[arg-type]
    return namespace
