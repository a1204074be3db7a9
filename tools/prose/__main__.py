"""Draw passages for readers, or list the linter's findings (`--lint`)."""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from tools.prose.findings import findings
from tools.prose.passages import Kind, passages, sources


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the draw or the findings; return 1 if the linter found anything."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="same seed, same draw from the same files")
    parser.add_argument("--count", type=int, default=100, help="passages to draw")
    parser.add_argument("--under", type=Path, help="only files under this path of the checkout")
    parser.add_argument("--lint", action="store_true", help="list findings instead")
    given = parser.parse_args(arguments)
    found = [passage for path in sources(under=given.under) for passage in passages(path)]
    if given.lint:
        broken = [finding for passage in found for finding in findings(passage)]
        for finding in broken:
            print(finding)
        return int(bool(broken))
    drawable = [passage for passage in found if passage.kind is not Kind.ERROR]
    chosen = random.Random(given.seed).sample(drawable, min(given.count, len(drawable)))  # noqa: S311 - not a secret
    for passage in sorted(chosen, key=lambda passage: (passage.path, passage.line)):
        print(passage)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
