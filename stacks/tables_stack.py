"""The stack of the tables of one system's jobs."""

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Stack
from constructs import Construct

from rollcall.core.catalog import Declared
from rollcall.core.errors import DeclarationError
from rollcall.core.target import Table
from stacks.environment import Environment
from stacks.job_table import JobTable


class TablesStack(Stack):
    """Apart from the jobs, whose stack can be deleted and made again without their data."""

    def __init__(
        self, scope: Construct, id_: str, *, environment: Environment, tables: Iterable[Table], **stack: Any
    ) -> None:
        super().__init__(scope, id_, **stack)
        self.tables = {table.name: JobTable(self, _id(table), environment=environment, table=table) for table in tables}


def tables_of(jobs: Iterable[Declared]) -> Mapping[str, tuple[Table, ...]]:
    """The tables that jobs need, by system, each once.

    Raises DeclarationError for two of one name that differ, or that belong to two systems: only one can make it.
    """
    found: dict[str, tuple[Declared, Table]] = {}
    for declared in jobs:
        for table in declared.job.tables:
            first, known = found.setdefault(table.name, (declared, table))
            if known != table:
                raise DeclarationError(
                    f"jobs {first.job.name} and {declared.job.name} declare the table {table.name} differently; "
                    f"declare it once and import it"
                )
            if first.system != declared.system:
                raise DeclarationError(
                    f"the table {table.name} is needed by jobs of two systems, {first.system} and {declared.system}; "
                    f"a table belongs to one: move the jobs together, or name their tables apart"
                )
    systems = {declared.system for declared, _ in found.values()}
    return {
        system: tuple(table for declared, table in found.values() if declared.system == system)
        for system in sorted(systems)
    }


def _id(table: Table) -> str:
    return "".join(word.title() for word in table.name.split("-"))
