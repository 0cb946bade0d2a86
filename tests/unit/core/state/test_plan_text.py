"""A plan in words: lines, diffs and the summary."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.state.facts import FileFact
from fabfile.core.state.manifest import File, Manifest, text_file
from fabfile.core.state.plan import HostPlan, actions, diff
from fabfile.core.state.plan_text import describe, summary
from tests.support.samples import bare_facts, facts_of, wanted
from tests.support.script_host import sha


def change(file: File, content: bytes | None, mode: str = "0644") -> HostPlan:
    """The plan for one wanted file where the host has other content, or none."""
    files = {} if content is None else {
        file.path: FileFact(sha(content), mode, file.owner, file.group, len(content), content)}  # fmt: skip
    return diff("h1", Manifest(files=(file,)), bare_facts(files=files))


def test_a_missing_record_has_a_line() -> None:
    """Where all is in place and only the host's own record is missing, the plan says that it will be written."""
    manifest = Manifest(files=(text_file("/a", "a"),))
    plan = diff("h1", manifest, replace(facts_of(manifest), current=None, manifest=Manifest()))
    assert not plan.empty
    assert list(describe(plan)) == [f"~ record generation {manifest.id}"]


@given(st.text("abc\n", min_size=1), st.text("xyz\n", min_size=1), st.sampled_from(["/etc/x/secret.key", "/secrets/k"]))
def test_secrets_are_never_shown(before: str, after: str, path: str) -> None:
    """No content of a file with `secret` in its path is shown, whether it is created, updated or removed."""
    marked_before, marked_after = f"OLD-PASSWORD{before}", f"NEW-PASSWORD{after}"
    file = text_file(path, marked_after)
    old = text_file(path, marked_before)
    plans = [change(file, None), change(file, marked_before.encode()), diff("h1", Manifest(), facts_of(Manifest(
        files=(old,))))]  # fmt: skip
    for plan in plans:
        text = "\n".join(describe(plan))
        assert "PASSWORD" not in text + repr(plan) + summary(plan) + actions(plan, "op")
        assert "(secret, not shown)" in text


def test_an_update_is_a_unified_diff() -> None:
    """A changed text file shows its path, rights and a unified diff with the host's lines first."""
    plan = change(text_file("/etc/x", "a\nB\n"), b"a\nb\n")
    assert list(describe(plan)) == [
        "~ /etc/x (0644 root:root)", "    --- on the host", "    +++ wanted", "    @@ -1,2 +1,2 @@",
        "     a", "    -b", "    +B",
    ]  # fmt: skip
    assert list(describe(plan, diffs=False)) == ["~ /etc/x (0644 root:root)"]


def test_a_created_or_removed_file_has_no_diff_head() -> None:
    """A created or removed file shows its lines without `---` and `+++`."""
    assert list(describe(change(text_file("/etc/x", "a\n"), None))) == [
        "+ /etc/x (0644 root:root)", "    @@ -0,0 +1 @@", "    +a"]  # fmt: skip
    gone = diff("h1", Manifest(), facts_of(Manifest(files=(text_file("/etc/x", "a\n"),))))
    assert list(describe(gone))[:3] == ["- /etc/x", "    @@ -1 +0,0 @@", "    -a"]


def test_changed_rights_show_both() -> None:
    """A change of mode or owner alone shows the old rights and the new ones, and no diff."""
    plan = change(text_file("/etc/x", "a\n", "0600"), b"a\n", "0666")
    assert list(describe(plan)) == ["~ /etc/x (0666 root:root → 0600 root:root)"]


def test_a_binary_shows_its_origin() -> None:
    """A binary is one line with where it comes from, and never a diff."""
    lines = list(describe(diff("w1", wanted("w1"), bare_facts())))
    [line] = [line for line in lines if line.startswith("+ /usr/local/bin/consul")]
    assert line == "+ /usr/local/bin/consul HashiCorp's release 1.22.7 (0755 root:root)"


def test_the_summary_is_one_phrase() -> None:
    """Files are counted, units named with their verb."""
    assert summary(diff("w1", wanted("w1"), bare_facts())) == (
        "18 files, start nexus-firewall, start consul, start nexus-worker")  # fmt: skip
    assert summary(change(text_file("/a", "a"), None)) == "1 file"
