"""Every way in which a line that keeps a guarantee can be lost, found by walking the engine's code.

One mutant is one change: a condition of a write that always holds or never does, or all of a function's conditions,
a field or set member that is not written, a part of a transaction that is left out, a test turned round or dropped, a
step left out, an error let through, a sum or bound that is off.
"""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tests.simulation.mutation.rewriting import install as install_rewriting
from tests.simulation.mutation.rewriting import modules_of, source_of

_ADAPTERS = ("bus", "functions", "manifests", "queue")
_LEDGER = ("chunk_updates", "entries", "records", "runs", "targets")
MODULES = [
    *modules_of("engine/*/*", *(f"adapters/{name}" for name in _ADAPTERS)),
    *modules_of(*(f"adapters/ledger/{name}" for name in _LEDGER)),
    *modules_of("core/message", "core/tree", "core/run"),
    "functions._runtime",
]
#: Of messages and their batches, and of parts of a transaction.
_MESSAGE_FIELDS = frozenset(
    {"run", "generation", "chunk", "index", "total", "entry", "key", "MessageGroupId", "ConditionExpression"}
)
#: What is said and not done: no guarantee hangs on it.
_SAID = frozenset({"log", "debug"})
#: The variable of fields that log lines share.
_OF_LOG_LINES = "about"
#: What watched modules find among the builtins: `met(value, number, only)`, `met_if_it_fails(update, number)`.
MET, MET_IF_IT_FAILS = "__met__", "__met_if_it_fails__"
#: A condition that holds for every item, and uses nothing that the request does not have.
_ALWAYS = "attribute_exists(pk) OR attribute_not_exists(pk)"
#: What the guarantees hang on: tests, sums and bounds that name none of these are not changed.
_GUARDS = frozenset(
    {
        "again", "announced", "begun", "checkpoint", "fence", "generation", "held", "in_doubt", "is_due", "keyed",
        "lease_until", "leased", "marked", "must_ask", "nonce", "overlap", "owner", "sent_at", "settled", "suspect",
        "terminal", "total", "unanswered", "unanswered_since", "window_end",
    }
)  # fmt: skip
#: What is written and guards something; the rest tells how it came.
_GUARDING_FIELDS = _GUARDS | {
    "called_until", "current", "current_generation", "epoch", "first_call", "free", "open_until", "queued", "state",
    "trier", "trying_until", "watched_until",
}  # fmt: skip
#: Modules whose functions write to the ledger.
_WRITERS = frozenset({"runs", "entries", "chunk_updates", "targets"})
_WRITES = frozenset({"set", "set_once"})
_REMOVED_WHOLE = frozenset({"add", "discard", "when_absent", "when_one_of", "increase", "count_up"})
#: Parts of a write that are conditions: without one, what failed goes through.
_CONDITIONS = frozenset({"when_absent", "when_one_of"})
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module."""

    module: str
    function: str
    #: In a few words, with the code that it is about; unique within the function.
    change: str

    @property
    def id(self) -> str:
        return f"{self.where}: {self.change}"

    @property
    def where(self) -> str:
        """The function, as its mutants' ids begin."""
        return f"{self.module.removeprefix('rollcall.')}.{self.function}"


@dataclass(frozen=True, slots=True)
class _Site:
    function: str
    change: str
    #: Makes the change in the tree that the site was found in.
    make: Callable[[], None]
    #: Has the tree tell, by the number given, when it comes to something that the change makes a difference to.
    watch: Callable[[int], None]


class _Walker:
    """Finds the sites of one tree, always in the same order."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._sites: list[_Site] = []
        self._function = ""
        #: Of the writes of the function, with what they are conditions of.
        self._conditions: list[tuple[ast.Call, ast.expr]] = []

    def sites(self) -> list[_Site]:
        self._block(self._tree.body)
        return self._sites

    def _found(self, change: str, make: Callable[[], None], watch: Callable[[int], None]) -> None:
        self._sites.append(_Site(self._function, " ".join(change.split()), make, watch))

    # --- statements ---

    def _block(self, body: list[ast.stmt]) -> None:
        for place, statement in enumerate(list(body)):
            match statement:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._in(statement.name, statement.body)
                case ast.ClassDef():
                    self._in(statement.name, statement.body)
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    continue
                case _ if not self._function or _only_says([statement]):
                    continue
                case _:
                    self._statement(body, place, statement)

    def _in(self, name: str, body: list[ast.stmt]) -> None:
        before, outer = self._function, self._conditions
        self._function, self._conditions = f"{before}.{name}".strip("."), []
        self._block(body)
        # The inner ones of a chain first.
        found = self._conditions[::-1]
        if sum(len(call.keywords) or 1 for call, _ in found) > 1:
            self._found(
                "without any condition",
                partial(_without_calls, found),
                partial(_watch_failures, found[0][1]),
            )
        self._function, self._conditions = before, outer

    def _statement(self, body: list[ast.stmt], place: int, statement: ast.stmt) -> None:
        match statement:
            case ast.If():
                self._if(body, place, statement)
            case ast.Expr(value=ast.Call() | ast.Await()) if _is_step(statement.value):
                self._found(
                    f"without {ast.unparse(statement)}",
                    lambda: _replace(body, place, ast.Pass()),
                    partial(_watch_step, body, statement),
                )
            case ast.Raise() if statement.exc is None:
                self._found(
                    "without raising again",
                    lambda: _replace(body, place, ast.Pass()),
                    partial(_watch_step, body, statement),
                )
            case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) as told) if _guards(told):
                self._found(
                    f"not {ast.unparse(told)}", lambda: setattr(statement, "value", _not(told)), partial(_watch, told)
                )
        for _, value in ast.iter_fields(statement):
            self._children(value, statement)

    def _children(self, value: object, parent: ast.AST) -> None:
        match value:
            case ast.expr():
                self._expressions(value)
            case list() if value and isinstance(value[0], ast.stmt):
                self._block(value)
            case list():
                for each in value:
                    self._children(each, parent)
            case ast.ExceptHandler():
                self._handler(value)
            case ast.match_case():
                self._block(value.body)
            case ast.withitem():
                self._expressions(value.context_expr)

    def _if(self, body: list[ast.stmt], place: int, statement: ast.If) -> None:
        if _only_says([*statement.body, *statement.orelse]) or not _guards(statement.test):
            return
        test = ast.unparse(statement.test)
        self._found(
            f"if not {test}",
            lambda: setattr(statement, "test", _not(statement.test)),
            partial(_watch, statement.test),
        )
        if not statement.orelse:
            self._found(
                f"without if {test}",
                lambda: _replace(body, place, ast.Pass()),
                partial(_watch, statement.test, only=True),
            )

    def _handler(self, handler: ast.ExceptHandler) -> None:
        caught = ast.unparse(handler.type) if handler.type is not None else "anything"
        if not any(isinstance(each, ast.Raise) for each in handler.body):
            self._found(
                f"except {caught}: raise",
                lambda: handler.body.__setitem__(slice(None), [ast.Raise()]),
                partial(_watch_step, handler.body, handler.body[0]),
            )
        self._block(handler.body)

    # --- expressions ---

    def _expressions(self, root: ast.expr) -> None:
        for node in ast.walk(root):
            match node:
                case ast.Call(func=ast.Attribute()):
                    self._call(node)
                case ast.Call(func=ast.Name(id=name)) if name in _SWAPPED and _guards(node):
                    self._named(node, name)
                case ast.Call(func=ast.Name(id="_transact")):
                    self._parts(node)
                case ast.BoolOp():
                    self._operands(node)
                case ast.comprehension():
                    self._filters(node)
                case ast.BinOp(op=ast.Add() | ast.Sub()) if _guards(node) and not _is_text(node):
                    self._sum(node)
                case ast.Dict():
                    self._fields(node)

    def _call(self, call: ast.Call) -> None:
        assert isinstance(call.func, ast.Attribute)
        name, receiver = call.func.attr, call.func.value
        if name in _CONDITIONS | {"when", "when_equal"}:
            self._conditions.append((call, receiver))
        if name == "when":
            (condition,) = call.args
            text = ast.unparse(condition)
            self._found(
                f"always {text}",
                lambda: call.args.__setitem__(0, _joined("", condition, f" OR {_ALWAYS}")),
                partial(_watch_failures, receiver),
            )
            self._found(
                f"never {text}",
                lambda: call.args.__setitem__(0, _joined("NOT (", condition, ")")),
                partial(_watch, condition),
            )
        elif name == "when_equal" or name in _WRITES:
            for keyword in list(call.keywords):
                if keyword.arg is not None and (name == "when_equal" or keyword.arg in _GUARDING_FIELDS):
                    change = f"{name} without {keyword.arg}"
                    watch = (
                        partial(_watch_failures, receiver) if name == "when_equal" else partial(_watch, keyword.value)
                    )
                    self._found(change, partial(call.keywords.remove, keyword), watch)
        elif name == "remove" and call.args and all(isinstance(each, ast.Constant) for each in call.args):
            for argument in [each for each in call.args if each.value in _GUARDING_FIELDS | {"announced_at"}]:  # type: ignore[attr-defined]
                change = f"remove without {ast.unparse(argument)}"
                self._found(change, partial(call.args.remove, argument), partial(_watch, argument))
        elif name in _REMOVED_WHOLE and call.args and not _is_plain_set(receiver):
            watching = _watch_failures if name in _CONDITIONS else _watch
            self._found(
                f"without {name}({', '.join(map(ast.unparse, call.args))})",
                lambda: _become(call, receiver),
                partial(watching, receiver),
            )

    def _named(self, call: ast.Call, name: str) -> None:
        other = _SWAPPED[name]
        self._found(f"{other} for {ast.unparse(call)}", lambda: setattr(call.func, "id", other), partial(_watch, call))

    def _parts(self, call: ast.Call) -> None:
        for part in call.args[1:]:
            self._found(
                f"transaction without {ast.unparse(part)}", partial(call.args.remove, part), partial(_watch, part)
            )

    def _operands(self, node: ast.BoolOp) -> None:
        word = "and" if isinstance(node.op, ast.And) else "or"
        for operand in list(node.values):
            if not _guards(operand):
                continue
            change = f"without {word} {ast.unparse(operand)}"
            self._found(change, partial(_without, node, operand), partial(_watch, operand, only=word == "or"))

    def _filters(self, node: ast.comprehension) -> None:
        for test in filter(_guards, list(node.ifs)):
            self._found(
                f"for any, not if {ast.unparse(test)}",
                partial(node.ifs.remove, test),
                partial(_watch, test, only=False),
            )

    def _sum(self, node: ast.BinOp) -> None:
        watch = partial(_watch, node)
        match node:
            case ast.BinOp(right=ast.Constant(value=int())):
                self._found(
                    f"{ast.unparse(node.left)} for {ast.unparse(node)}", lambda: _become(node, node.left), watch
                )
            case ast.BinOp(op=ast.Add()):
                self._found(f"minus in {ast.unparse(node)}", lambda: setattr(node, "op", ast.Sub()), watch)
            case _:
                self._found(f"plus in {ast.unparse(node)}", lambda: setattr(node, "op", ast.Add()), watch)

    def _fields(self, node: ast.Dict) -> None:
        for key, value in list(zip(node.keys, node.values, strict=True)):
            if not (isinstance(key, ast.Constant) and key.value in _GUARDING_FIELDS | _MESSAGE_FIELDS):
                continue

            def leave_out(key: ast.expr = key, value: ast.expr = value) -> None:
                node.keys.remove(key)
                node.values.remove(value)

            self._found(f"without the field {key.value}", leave_out, partial(_watch, value))


def _only_says(body: list[ast.stmt]) -> bool:
    """Whether statements only log, or are docstrings: nothing hangs on them."""

    def says(statement: ast.stmt) -> bool:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Assert() | ast.Delete():
                return True
            case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))):
                return name in _SAID
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
                return name == _OF_LOG_LINES
        return False

    return all(map(says, body))


def _names(node: ast.AST) -> set[str]:
    found = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return found | {each.attr.lstrip("_") for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def _guards(node: ast.AST) -> bool:
    """Whether it is about something that a guarantee hangs on."""
    return not _GUARDS.isdisjoint(_names(node))


def _is_step(value: ast.expr) -> bool:
    """Whether a statement has something written, put back or put off."""
    call = value.value if isinstance(value, ast.Await) else value
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=module))) if module in _WRITERS:
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self" | "work" | "update"), attr=name)):
            return name not in _REMOVED_WHOLE | _WRITES | {"when", "when_equal", "remove"}
        case ast.Call(func=ast.Name(id="count" | "_transact" | "_move_on")):
            return True
    return False


def _without(node: ast.BoolOp, operand: ast.expr) -> None:
    node.values.remove(operand)
    if len(node.values) == 1:
        _become(node, node.values[0])


def _without_calls(calls: list[tuple[ast.Call, ast.expr]]) -> None:
    for call, receiver in calls:
        _become(call, receiver)


def _is_plain_set(receiver: ast.expr) -> bool:
    """Python's own sets have an `add`, too; what they are about is found by other sites."""
    return isinstance(receiver, ast.Name | ast.Attribute) and "update" not in ast.unparse(receiver).lower()


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(each, ast.JoinedStr | ast.List) for each in (node.left, node.right))


def _replace(body: list[ast.stmt], place: int, other: ast.stmt) -> None:
    body[place] = ast.copy_location(other, body[place])


def _become(node: ast.AST, other: ast.AST) -> None:
    """Make `node` what `other` is, wherever it stands."""
    other = copy.deepcopy(other)
    node.__class__ = other.__class__
    node.__dict__.clear()
    node.__dict__.update(other.__dict__)


def _watch_step(body: list[ast.stmt], statement: ast.stmt, number: int) -> None:
    """Tell when it comes to the statement."""
    (line,) = ast.parse(f"{MET}(None, {number})").body
    body.insert(next(place for place, each in enumerate(body) if each is statement), ast.copy_location(line, statement))


def _watch(node: ast.expr, number: int, only: bool | None = None) -> None:
    """Tell when it comes to the expression, or when it is true, or false."""
    _wrap(node, MET, number, only)


def _watch_failures(update: ast.expr, number: int) -> None:
    """Tell when a write fails that the condition belongs to."""
    _wrap(update, MET_IF_IT_FAILS, number)


def _wrap(node: ast.expr, function: str, *arguments: int | bool | None) -> None:
    """Make `node` a call with what it was, which stays the same object to whoever knows its parts."""
    inner = copy.copy(node)
    call = ast.Call(ast.Name(function, ast.Load()), [inner, *(ast.Constant(each) for each in arguments)], [])
    node.__class__ = ast.Call
    node.__dict__.clear()
    node.__dict__.update(ast.copy_location(call, inner).__dict__)


def _not(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _joined(before: str, text: ast.expr, after: str) -> ast.expr:
    whole = ast.BinOp(ast.BinOp(ast.Constant(before), ast.Add(), text), ast.Add(), ast.Constant(after))
    return ast.copy_location(whole, text)


def _sites(module: str, tree: ast.Module) -> Iterator[tuple[Mutant, _Site]]:
    seen: Counter[tuple[str, str]] = Counter()
    for site in _Walker(tree).sites():
        seen[site.function, site.change] += 1
        number = seen[site.function, site.change]
        change = site.change if number == 1 else f"{site.change} ({number})"
        yield Mutant(module, site.function, change), site


def changes_of(tree: ast.Module) -> list[tuple[str, Callable[[], None]]]:
    """What can be changed in a module, in words, and how."""
    return [(site.change, site.make) for site in _Walker(tree).sites()]


def mutants() -> list[Mutant]:
    """All of them."""
    return [mutant for module in MODULES for mutant, _ in _sites(module, ast.parse(source_of(module)))]


def watched(module: str, tree: ast.Module, number_of: Mapping[str, int]) -> ast.Module:
    """The module, which tells when it comes to what its mutants, numbered by their ids, make a difference to."""
    for mutant, site in list(_sites(module, tree)):
        site.watch(number_of[mutant.id])
    return tree


def mutated(mutant: Mutant, tree: ast.Module) -> ast.Module:
    """The module with the change. Raises KeyError where it has no such place."""
    for found, site in _sites(mutant.module, tree):
        if found == mutant:
            site.make()
            return tree
    raise KeyError(mutant.id)


def install(mutant: Mutant) -> None:
    """Make the change in this process; before the engine is imported."""
    install_rewriting(frozenset({mutant.module}), lambda _, tree: mutated(mutant, tree))
