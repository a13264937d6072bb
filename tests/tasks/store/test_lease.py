"""The lease of a store: one driver at a time, the dead are followed, the living are joined only on request."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from core.errors import BadInput
from tasks.store import lease
from tasks.store.files import Files
from tasks.store.lease import NAME, Lease, alive, read_lease, this_driver


@pytest.fixture(params=["folder", "s3"])
def files(request, tmp_path):
    if request.param == "s3":
        return Files(f"{request.getfixturevalue('s3_bucket')}/store")
    return Files(str(tmp_path / "store"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.05)


def elsewhere(**changes):
    """The lease of a driver on another machine."""
    return replace(this_driver(), host="far", machine="other", **changes)


def no_words(line):
    raise AssertionError(line)


def test_a_lease_is_held_while_the_context_lasts_and_gone_afterwards(files):
    with Lease(files, no_words) as held:
        first = read_lease(files)
        assert first.token == held.mine.token
        deadline = time.monotonic() + 10
        while read_lease(files).beat < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert read_lease(files).beat >= 2
        assert read_lease(files).at >= first.at
    assert read_lease(files) is None


def test_a_second_driver_is_refused_in_one_line_and_harms_nothing(files):
    with Lease(files, no_words):
        holder = read_lease(files)
        with pytest.raises(BadInput) as caught, Lease(files, no_words):
            pass
        line = str(caught.value)
        assert f"a live driver (host {holder.host}, process {holder.pid}, since {holder.since})" in line
        assert "--share" in line
        assert read_lease(files).token == holder.token


def test_a_driver_may_share_and_takes_the_lease_when_it_becomes_free(files):
    lines = []
    first = Lease(files, no_words)
    first.__enter__()
    with Lease(files, lines.append, share=True) as second:
        assert "another driver" in lines[0]
        assert read_lease(files).token == first.mine.token
        first.__exit__()
        deadline = time.monotonic() + 10
        while read_lease(files) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert read_lease(files).token == second.mine.token
    assert read_lease(files) is None


def test_a_killed_driver_of_this_machine_is_followed_at_once(tmp_path):
    code = "import sys, time; from tasks.store.files import Files; from tasks.store.lease import Lease\n"
    code += "Lease(Files(sys.argv[1]), print).__enter__(); print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    files = Files(str(tmp_path))
    left = read_lease(files)
    assert left.pid == process.pid
    with pytest.raises(BadInput, match="live driver"), Lease(files, no_words):
        pass
    process.kill()
    deadline = time.monotonic() + 10
    while alive(files, left) and time.monotonic() < deadline:  # dead at once, reaped or not
        time.sleep(0.01)
    with Lease(files, no_words) as held:
        assert read_lease(files).token == held.mine.token
    process.communicate()


def test_another_machine_s_lease_counts_while_it_is_fresh(files):
    files.put(NAME, elsewhere().packed())
    with pytest.raises(BadInput, match="host far"), Lease(files, no_words):
        pass


@pytest.mark.parametrize("age", [10 * lease.STALE, -10 * lease.STALE])
def test_another_machine_s_lease_without_a_sign_of_life_is_stale(files, age):
    files.put(NAME, elsewhere(at=time.time() - age).packed())
    with Lease(files, no_words) as held:
        assert read_lease(files).token == held.mine.token


def test_a_clock_that_is_wrong_does_not_make_a_live_driver_stale(files, monkeypatch):
    """Its times are far off, but its counter moves while we watch."""
    wrong = elsewhere(at=time.time() - 3600)
    files.put(NAME, wrong.packed())
    really = time.sleep

    def sleep(seconds):
        really(seconds)
        files.put(NAME, replace(wrong, beat=read_lease(files).beat + 1).packed())

    monkeypatch.setattr(lease.time, "sleep", sleep)
    assert alive(files, wrong)


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\xff", json.dumps({"pid": 1}).encode()])
def test_a_lease_that_cannot_be_understood_is_nobody_s(tmp_path, content):
    files = Files(str(tmp_path))
    files.put(NAME, content)
    with Lease(files, no_words) as held:
        assert read_lease(files).token == held.mine.token


def test_a_driver_whose_lease_is_taken_says_so_once_and_lets_go(files):
    lines = []
    with Lease(files, lines.append):
        thief = elsewhere()
        files.put(NAME, thief.packed())
        deadline = time.monotonic() + 10
        while not lines and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        files.put(NAME, thief.packed())  # a beat of ours that was under way when it was taken
    assert len(lines) == 1
    assert "taken this store over" in lines[0]
    assert read_lease(files).token == thief.token
