"""Whatever stands behind --store, --against and --budget: its answer is work or one line, never a traceback."""

import random
import string

import pytest

from core.errors import BadInput
from orchestrator import grid
from orchestrator.results.known_grids import remember
from tasks.store.store import Store
from tests.orchestrator.fake_results import Fake, small_spec

ODD = (
    "", " ", "\t", "\n", ".", "..", "/", "//", "~", "~nobody-here/x", "-", "--", "--json", "a\0b", "\0", "\x7f",
    "\ud800", "x" * 300, "x/" * 3000, "/dev/null", "/dev/full", "/dev/null/x", "/proc/self/mem", "/proc/1/root/x",
    "C:\\runs", "://", "s3:", "file:", "file://", "file:///dev/null", "nothing://x", "memory:/", "http://",
    "zip://x.zip", "s3fs://x", "😀", "ünïcödé", "a b", "$HOME", "%s%n", "{store}", "*", "?", "[a", "'; rm x", '"',
    "\\", "null", "nan", "1e999", "[]",
)  # fmt: skip
SIGNS = string.printable + "\0\x7f\ud800äß😀\u202e"
CASES = 60


def drawn(seed: int) -> str:
    """A text of up to 40 odd signs, sometimes behind a protocol."""
    draw = random.Random(seed)
    text = "".join(draw.choices(SIGNS, k=draw.randrange(40)))
    return draw.choice(("", "", "memory://", "file://", "nothing://")) + text


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store with a report to compare with another."""
    fake = Fake(
        Store(str(tmp_path_factory.mktemp("finished") / "store")), small_spec(methods=("retrain", "ft"))
    )
    fake.fill()
    remember(fake.store, fake.spec, fake.plan)
    return fake.store.uri


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of one's own, in which odd relative paths lead nowhere."""
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "deeper")


def answer(arguments, capsys) -> tuple[int, str]:
    """The exit code and what stands on stderr; whatever is raised fails the test."""
    code = grid.main(arguments)
    return code, capsys.readouterr().err


def check(code: int, said: str) -> None:
    assert code in (0, 2)
    lines = said.strip("\n").split("\n")
    assert code == 0 or (len(lines) == 1 and lines[0].startswith("error: ")), said
    assert "Traceback" not in said


@pytest.mark.parametrize("value", [*ODD, *map(drawn, range(CASES))], ids=lambda value: ascii(value[:30]))
def test_a_store(value, capsys):
    check(*answer(["status", f"--store={value}", "--json"], capsys))


@pytest.mark.parametrize(
    "value", [*ODD[1:], *map(drawn, range(CASES, CASES + 10))], ids=lambda value: ascii(value[:30])
)
def test_a_store_to_compare_with(value, finished, capsys):
    check(*answer(["report", f"--store={finished}", f"--against={value}", "--json"], capsys))


def budget(text: str) -> float:
    """Seconds; 1 for a text that is refused in one line."""
    try:
        return grid.seconds(text)
    except BadInput as error:
        return float("\n" not in str(error) and "such as 25m, 8h or 90s" in str(error))


@pytest.mark.parametrize(
    "text", [*ODD, "0", "-1", "0s", "1 h", "1hh", "9" * 400 + "h", "٣m", "1.5.2m", "1e3s", "∞"]
)
def test_a_budget(text):
    assert budget(text) > 0


@pytest.mark.parametrize("seed", range(CASES))
def test_a_budget_of_odd_signs(seed):
    assert budget(drawn(seed)) > 0
