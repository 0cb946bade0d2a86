"""Error lines of the logs: what is known to be harmless fails nothing, all else is counted by host and unit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.judge.log_lines import HARMLESS, LogLine, read_log_lines, split, summary

RELOADED = LogLine(
    "caddy.service",
    '{"level":"error","ts":1.5,"logger":"http","msg":"server shutdown","error":"context canceled","addresses":[":443"]}',
)
UNKNOWN_TOKEN = LogLine("consul.service", '[ERROR] agent: Coordinate update error: error="ACL not found"')
BAD = LogLine("consul.service", "[ERROR] agent.server.raft: failed to take snapshot: disk full")


def journal(*lines: LogLine, **fields: Any) -> bytes:
    return "".join(json.dumps({"MESSAGE": x.text, "_SYSTEMD_UNIT": x.unit, **fields}) + "\n" for x in lines).encode()


def test_an_ordinary_reload_of_caddy_is_no_fault() -> None:
    """Its old server's context is canceled while connections are open; that very line of another unit is a fault."""
    assert split([RELOADED, RELOADED], []) == ([], [HARMLESS[0]] * 2)
    other = LogLine("consul.service", RELOADED.text)
    assert split([RELOADED, other], [])[0] == [other]
    late = LogLine("caddy.service", RELOADED.text.replace("context canceled", "bind: address already in use"))
    assert split([late], [])[0] == [late]


def test_a_token_may_be_unknown_at_first_only() -> None:
    """An agent caches that for half a minute; later it is a fault."""
    assert split([UNKNOWN_TOKEN], [])[0] == []
    assert split([UNKNOWN_TOKEN], [UNKNOWN_TOKEN])[0] == [UNKNOWN_TOKEN]


def test_each_rule_has_its_reason() -> None:
    """And none takes everything for harmless."""
    for rule in HARMLESS:
        assert rule.reason
        assert not rule.fits(BAD)
        assert not rule.fits(LogLine(rule.unit or "x", ""))


def test_faults_are_counted_by_host_and_unit() -> None:
    """The last one is shown, cut where it is long; what is harmless is counted with its reason."""
    bad = [("m1", BAD), ("m1", BAD), ("w1", LogLine("caddy.service", "x" * 1000))]
    text = summary(bad, [])
    assert text.startswith("3 lines (m1 consul.service 2, w1 caddy.service 1), the last: w1 caddy.service: xxx")
    assert len(text) < 400
    assert summary(bad[:1], []).startswith("1 line (m1 consul.service 1), the last: ")
    assert summary([], [HARMLESS[0]] * 2) == "none, besides harmless ones: 2, for a reload does not wait for old connections"
    assert summary([], []) == "none"


def test_journalctls_lines_are_read() -> None:
    """A message that is no UTF-8 comes as bytes; what systemd says of a unit is that unit's."""
    assert read_log_lines(journal(BAD, RELOADED)) == [BAD, RELOADED]
    assert read_log_lines(journal(LogLine("init.scope", "a"), UNIT="caddy.service")) == [LogLine("caddy.service", "a")]
    assert read_log_lines(b'{"MESSAGE": [97, 255, 27], "_SYSTEMD_UNIT": "a.service"}\n') == [
        LogLine("a.service", "a\ufffd\\x1b")
    ]


@pytest.mark.parametrize("text", [b"", b"\n", b" \n\n"])
def test_no_lines_are_none(text: bytes) -> None:
    assert read_log_lines(text) == []


@given(st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(["MESSAGE", "UNIT", "_SYSTEMD_UNIT"]), st.none() | st.integers() | st.text() | st.lists(st.integers()),
).map(lambda fields: json.dumps(fields).encode()))  # fmt: skip
def test_whatever_stands_there_is_a_line(output: bytes) -> None:
    """It is counted rather than lost."""
    lines = read_log_lines(output)
    assert summary([("m1", line) for line in split(lines, [])[0]], [])
