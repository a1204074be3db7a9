"""`python -m tests.simulation`: many seeds and every crash point, with a table of what they hit."""

import typer

from tests.simulation.mutation import branches

if __name__ == "__main__":
    branches.install()
    from tests.simulation.plays.exploring import main

    typer.run(main)
