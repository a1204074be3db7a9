"""How often every branch of the engine was taken: counted by a line that each gets when its module is imported."""

import ast
import builtins
from collections import Counter
from collections.abc import Iterator

from tests.simulation.mutation.rewriting import install as install_rewriting
from tests.simulation.mutation.rewriting import modules_of, source_of

#: All of the engine, and what writes to the ledger and the queues for it.
MODULES = modules_of(
    "engine/*/*",
    *(f"adapters/ledger/{name}" for name in ("chunk_updates", "entries", "records", "runs", "targets")),
    *(f"adapters/{name}" for name in ("manifests", "queue")),
)
_HITS = "__hits__"


class _Counting(ast.NodeTransformer):
    """Puts `__hits__[n] += 1` at the beginning of every branch."""

    def __init__(self, module: str, names: list[str]) -> None:
        self._module = module.removeprefix("rollcall.")
        self._names = names
        self._function = ""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        before, self._function = self._function, node.name
        self.generic_visit(node)
        self._function = before
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        test = ast.unparse(node.test)
        self.generic_visit(node)
        node.body.insert(0, self._count(f"if {test}", node))
        node.orelse.insert(0, self._count(f"else of if {test}", node))
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        self.generic_visit(node)
        caught = ast.unparse(node.type) if node.type is not None else "anything"
        node.body.insert(0, self._count(f"except {caught}", node))
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, self._count(f"case {ast.unparse(node.pattern)}", node.body[0]))
        return node

    def _count(self, what: str, at: ast.AST) -> ast.stmt:
        name = f"{self._module}.{self._function}: {what}"
        twins = sum(each.partition(" (")[0] == name for each in self._names)
        self._names.append(f"{name} ({twins + 1})" if twins else name)
        (line,) = ast.parse(f"{_HITS}[{len(self._names) - 1}] += 1").body
        return ast.copy_location(line, at)


_names: list[str] = []


def names() -> list[str]:
    """All branches there are, by module, function and condition."""
    if not _names:
        for module in MODULES:
            _Counting(module, _names).visit(ast.parse(source_of(module)))
    return _names


def install() -> None:
    """Count from now on; before the engine is imported."""
    offsets: dict[str, int] = {}
    found: list[str] = []
    for module in MODULES:
        offsets[module] = len(found)
        _Counting(module, found).visit(ast.parse(source_of(module)))
    setattr(builtins, _HITS, [0] * len(found))

    def rewrite(module: str, tree: ast.Module) -> ast.Module:
        rewritten: ast.Module = _Counting(module, list(found[: offsets[module]])).visit(tree)
        return rewritten

    install_rewriting(frozenset(MODULES), rewrite)


def take() -> Counter[str]:
    """The branches taken since the last time, and how often; nothing where they are not counted."""
    hits: list[int] = getattr(builtins, _HITS, [])
    taken = Counter({name: count for name, count in zip(names(), hits, strict=False) if count})
    hits[:] = [0] * len(hits)
    return taken


def never(taken: Counter[str]) -> Iterator[str]:
    """The branches that were never taken."""
    return (name for name in names() if not taken[name])
