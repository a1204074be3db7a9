"""moto, which is most of what these stories take, in half of the time.

moto 5.2 looks for every member of every structure that it answers under all the names that it may have, lists the
methods of a service with every request, and parses and copies an update's expression several times. What is put in
place here finds the same in one step, or remembers it; `tests/functional/test_quick_moto.py` compares the two.
"""

import importlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import pytest

_responses: Any = importlib.import_module("moto.core.responses")
_serialize: Any = importlib.import_module("moto.core.serialize")
_sqs: Any = importlib.import_module("moto.sqs.models")
_ast: Any = importlib.import_module("moto.dynamodb.parsing.ast_nodes")
_parser: Any = importlib.import_module("moto.dynamodb.parsing.expressions").UpdateExpressionParser
_validators: Any = importlib.import_module("moto.dynamodb.parsing.validators")

_get_value = _serialize.ResponseSerializer.get_value
_traverse = _ast.DepthFirstTraverser.traverse
_deepcopy = _validators.deepcopy

parsed = lru_cache(1_000)(_parser.make)
method_names = cache(_responses.method_names_from_class)
with_underscores = cache(_responses.camelcase_to_underscores)


@contextmanager
def quick() -> Iterator[None]:
    """Within it, moto is quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_serialize.ResponseSerializer, "get_value", get_value)
        patch.setattr(_ast.DepthFirstTraverser, "traverse", traverse)
        patch.setattr(_validators, "deepcopy", deepcopy)
        patch.setattr(_parser, "make", staticmethod(parsed))
        patch.setattr(_responses, "method_names_from_class", method_names)
        for module in (_responses, _sqs):
            patch.setattr(module, "camelcase_to_underscores", with_underscores)
        yield


def get_value(serializer: Any, value: Any, key: str, shape: Any) -> Any:
    """A member of what is answered; of a dictionary, the names that it may have depend on nothing but its shape."""
    picker = serializer._value_picker
    if type(value) is not dict or getattr(picker, "response_transformers", True):
        return _get_value(serializer, value, key, shape)
    names = shape.__dict__.get("possible_names")
    if names is None:
        names = shape.possible_names = _possible_names(serializer, picker, key, shape)
    for name in names:
        if name in value:
            return value[name]
    return None


def _possible_names(serializer: Any, picker: Any, key: str, shape: Any) -> tuple[str, ...]:
    model = serializer.operation_model
    context = _serialize.AttributePickerContext({}, key, shape, model, model.service_model)
    return tuple(dict.fromkeys(picker.get_possible_keys(context)))


def traverse(traverser: Any, node: Any) -> Any:
    """Visit an expression, the kinds of nodes of interest listed once."""
    kinds = traverser.nodes_to_be_processed()
    traverser.nodes_to_be_processed = lambda: kinds
    return _traverse(traverser, node)


def deepcopy(value: Any) -> Any:
    """An expression's copy."""
    return pickle.loads(pickle.dumps(value)) if isinstance(value, _ast.Node) else _deepcopy(value)  # noqa: S301
