"""The picture in the README: the main job, run and shown as in a terminal.

`python -m tools.drawings.main_job` writes it to docs/main-job.svg.
"""

import io
import os
from pathlib import Path

from rollcall.core.catalog import find
from tools.cli import show
from tools.cli.local_run import Options, run_locally
from tools.cli.terminal import Terminal
from tools.local_cloud.isolation import isolate

PICTURE = Path(__file__).resolve().parents[2] / "docs/main-job.svg"
JOB = "client-deposit-update"
WIDTH = 104
#: Rich's own template loads a font from the network; a picture in a repository should load nothing.
TEMPLATE = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def main() -> None:
    """Run the job on a local cloud and write what a person sees of its result."""
    isolate(os.environ)
    result = run_locally(find(JOB), Options(), lambda _: None)
    console = Terminal(file=io.StringIO(), width=WIDTH, force_terminal=True)
    console.record = True
    console.print("$ make run")
    show.show_result(console, result)
    PICTURE.write_text(console.export_svg(title="Rollcall", code_format=TEMPLATE, unique_id="main-job"))


if __name__ == "__main__":
    main()
