"""The page of the stand-ins names every option, with the default that it has."""

import json
import re
from pathlib import Path

import pytest

from tools.stand_ins.options import Options, ReportFault

PAGE = (Path(__file__).parents[2] / "docs/stand-ins.md").read_text()
#: Default and words of each option, by its name.
ROWS = {name: (default, words) for name, default, words in re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", PAGE, re.M)}
#: Those that `rollcall` sets by itself.
SET = {"job_module", "entries", "items", "format"}


def test_every_option_is_on_the_page_and_no_other() -> None:
    assert set(ROWS) == set(Options.model_fields)


@pytest.mark.parametrize("name", sorted(Options.model_fields.keys() - SET))
def test_the_page_tells_the_default(name: str) -> None:
    default = Options.model_fields[name].default
    shown = ROWS[name][0].strip("`")
    assert shown == ("none" if default is None else json.dumps(default))


def test_the_page_tells_how_a_report_can_be_broken() -> None:
    assert re.findall(r"`(\w+)`", ROWS["report_fault"][1]) == [fault.value for fault in ReportFault]
