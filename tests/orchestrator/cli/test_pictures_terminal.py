"""The terminal views as a terminal gets them, from a real small grid."""

import re
import struct

import pytest

from tests.browser import needs_browser
from tests.pictures import terminal


@pytest.mark.slow
@needs_browser
def test_pictures_of_every_view(finished_store, tmp_path):
    files = terminal.terminal_pictures(str(finished_store), tmp_path)
    names = {file.stem for file in files}
    views = ("plan", "plan-full", "status", "report", "run", "help", "progress")
    assert names == {f"{view}-{width}" for view in views for width in terminal.WIDTHS}
    for file in files:
        width, height = struct.unpack(">II", file.read_bytes()[16:24])
        assert width > 600
        assert height > 100


@pytest.mark.parametrize("width", terminal.WIDTHS)
def test_a_terminal_gets_colours_and_no_line_of_words_is_wider_than_it(width, finished_store):
    text = terminal.output_of(["status", "--store", str(finished_store)], width)
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "grid digits: done" in plain
    wide = [line for line in plain.splitlines() if len(line) > width]
    assert all(str(finished_store) in line for line in wide)  # a path or a command is never broken
