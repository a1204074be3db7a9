"""The model of DynamoDB and the emulators, told the same stories. Each shows what AWS documents, or a known
difference.
"""

import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulation.models import differences
from tests.simulation.models.dynamodb import DynamoDB
from tests.simulation.models.gate import Client, Gate
from tests.simulation.models.stories import (
    BROKEN,
    TABLE,
    Side,
    StoryClock,
    StoryItem,
    comparable,
    make_table,
    new_name,
    refused,
)

#: What most stories begin with.
ITEM: dict[str, Any] = {
    "n": {"N": "5"},
    "s": {"S": "hello"},
    "b": {"BOOL": True},
    "ns": {"NS": ["1", "2", "3"]},
    "ss": {"SS": ["x", "y"]},
    "l": {"L": [{"N": "1"}, {"S": "z"}]},
    "m": {"M": {"a": {"N": "1"}}},
    "nothing": {"NULL": True},
}
VALIDATION = "ValidationException"


@pytest.fixture
def item(side: Side) -> StoryItem:
    item = side.table()
    item.put(**ITEM)
    return item


# --- conditions ---


@pytest.mark.parametrize(
    ("condition", "values", "holds"),
    [
        ("n = :v", {":v": {"N": "5"}}, True),
        ("n = :v", {":v": {"N": "5.0"}}, True),
        ("n = :v", {":v": {"S": "5"}}, False),
        ("n <> :v", {":v": {"N": "6"}}, True),
        ("absent <> :v", {":v": {"N": "6"}}, True),
        ("absent = :v", {":v": {"N": "6"}}, False),
        ("n < :v", {":v": {"N": "10"}}, True),
        ("n <= :v", {":v": {"N": "5"}}, True),
        ("n > :v", {":v": {"N": "-1"}}, True),
        ("n >= :v", {":v": {"N": "5.5"}}, False),
        ("absent < :v", {":v": {"N": "1"}}, False),
        ("absent >= :v", {":v": {"N": "1"}}, False),
        ("s < :v", {":v": {"S": "help"}}, True),
        ("s > :v", {":v": {"S": "Hello"}}, True),
        ("n BETWEEN :a AND :b", {":a": {"N": "5"}, ":b": {"N": "7"}}, True),
        ("n BETWEEN :a AND :b AND b = :t", {":a": {"N": "1"}, ":b": {"N": "4"}, ":t": {"BOOL": True}}, False),
        ("s IN (:a, :b)", {":a": {"S": "bye"}, ":b": {"S": "hello"}}, True),
        ("s IN (:a)", {":a": {"S": "bye"}}, False),
        ("absent IN (:a)", {":a": {"S": "bye"}}, False),
        ("attribute_exists(nothing)", None, True),
        ("attribute_exists(absent)", None, False),
        ("attribute_not_exists(absent)", None, True),
        ("attribute_not_exists(pk)", None, False),
        ("contains(ns, :v)", {":v": {"N": "2"}}, True),
        ("contains(ns, :v)", {":v": {"N": "4"}}, False),
        ("contains(absent, :v)", {":v": {"N": "4"}}, False),
        ("NOT contains(absent, :v)", {":v": {"N": "4"}}, True),
        ("contains(ss, :v)", {":v": {"S": "x"}}, True),
        ("contains(s, :v)", {":v": {"S": "ell"}}, True),
        ("contains(b, :v)", {":v": {"BOOL": True}}, False),
        ("contains(n, :v)", {":v": {"N": "5"}}, False),
        ("contains(l, :v)", {":v": {"S": "z"}}, True),
        ("begins_with(s, :v)", {":v": {"S": "he"}}, True),
        ("attribute_type(s, :v)", {":v": {"S": "S"}}, True),
        ("size(ns) = :v", {":v": {"N": "3"}}, True),
        ("size(s) > :v", {":v": {"N": "4"}}, True),
        ("size(ns) >= n", None, False),
        ("attribute_exists(n) OR attribute_exists(absent) AND attribute_exists(absent)", None, True),
        ("(attribute_exists(n) OR attribute_exists(absent)) AND attribute_exists(absent)", None, False),
        ("NOT attribute_exists(n) OR attribute_exists(s)", None, True),
        ("NOT (attribute_exists(n) OR attribute_exists(s))", None, False),
        ("not attribute_exists(absent) and attribute_exists(n)", None, True),
        ("n = n", None, True),
    ],
)
def test_conditions(item: StoryItem, condition: str, values: dict[str, Any] | None, holds: bool) -> None:
    assert item.holds(condition, values) is holds


def test_the_size_of_nothing_compares_with_nothing(side: Side) -> None:
    item = side.table()
    held = side.broken_or(lambda: item.holds("size(absent) = :v", {":v": {"N": "0"}}))
    assert held == side.expected(differences.BROKEN_BY_CONDITIONS, False, moto=BROKEN)


@pytest.mark.parametrize("condition", ["n = ", "n == :v", "n = :v)", "(n = :v", "AND n = :v"])
def test_conditions_that_cannot_be_parsed(side: Side, condition: str) -> None:
    item = side.table()
    values = {":v": {"N": "1"}}
    refusal = side.broken_or(lambda: refused(lambda: item.update("SET x = :v", values, when=condition)))
    assert refusal == side.expected(differences.BROKEN_BY_CONDITIONS, VALIDATION, moto=BROKEN)


def test_nothing_equals_nothing(side: Side) -> None:
    item = side.table()
    assert item.holds("absent = nowhere") is side.expected(differences.NOTHING, False, moto=True, ministack=True)


def test_an_empty_condition_is_refused(side: Side) -> None:
    item = side.table()
    refusal = refused(lambda: item.update("SET x = :v", {":v": {"N": "1"}}, when=""))
    assert refusal == side.expected(differences.EMPTY_CONDITION, VALIDATION, moto="")


# --- updates ---


@pytest.mark.parametrize(
    ("expression", "values", "changed"),
    [
        ("SET n = :v", {":v": {"S": "text"}}, {"n": {"S": "text"}}),
        ("SET n = n + :v", {":v": {"N": "3"}}, {"n": {"N": "8"}}),
        ("SET n = n - :v", {":v": {"N": "0.5"}}, {"n": {"N": "4.5"}}),
        ("SET n = :v - n", {":v": {"N": "3"}}, {"n": {"N": "-2"}}),
        ("SET x = if_not_exists(x, :v)", {":v": {"N": "1"}}, {"x": {"N": "1"}}),
        ("SET n = if_not_exists(n, :v)", {":v": {"N": "1"}}, {}),
        ("SET n = if_not_exists(n, :v) + :v", {":v": {"N": "1"}}, {"n": {"N": "6"}}),
        ("SET x = s", None, {"x": {"S": "hello"}}),
        # All right-hand sides are worked out from the item as it was.
        ("SET n = :v, x = n", {":v": {"N": "1"}}, {"n": {"N": "1"}, "x": {"N": "5"}}),
        ("ADD n :v", {":v": {"N": "2"}}, {"n": {"N": "7"}}),
        ("ADD x :v", {":v": {"N": "2"}}, {"x": {"N": "2"}}),
        ("ADD ns :v", {":v": {"NS": ["3", "4"]}}, {"ns": {"NS": ["1", "2", "3", "4"]}}),
        ("ADD x :v", {":v": {"SS": ["a"]}}, {"x": {"SS": ["a"]}}),
        ("DELETE ns :v", {":v": {"NS": ["1", "9"]}}, {"ns": {"NS": ["2", "3"]}}),
        ("DELETE ns :v", {":v": {"NS": ["1", "2", "3"]}}, {"ns": None}),
        ("DELETE absent :v", {":v": {"NS": ["1"]}}, {}),
        ("REMOVE n, absent", None, {"n": None}),
        ("SET x = :v REMOVE n ADD ns :a DELETE ss :d",
         {":v": {"N": "1"}, ":a": {"NS": ["9"]}, ":d": {"SS": ["x"]}},
         {"x": {"N": "1"}, "n": None, "ns": {"NS": ["1", "2", "3", "9"]}, "ss": {"SS": ["y"]}}),
    ],
)  # fmt: skip
def test_updates(item: StoryItem, expression: str, values: dict[str, Any] | None, changed: dict[str, Any]) -> None:
    expected = {name: value for name, value in {**ITEM, **changed}.items() if value is not None}
    assert item.update(expression, values, ReturnValues="ALL_NEW") == expected
    assert item.get() == expected


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("SET x = :v", {":v": {"N": "1"}, ":unused": {"N": "1"}}),
        ("SET x = :undefined", {":v": {"N": "1"}}),
        ("SET x = absent", None),
        ("SET x = absent + :v", {":v": {"N": "1"}}),
        ("ADD s :v", {":v": {"N": "1"}}),
        ("ADD x :v", {":v": {"S": "1"}}),
        ("ADD ns :v", {":v": {"SS": ["1"]}}),
        ("DELETE n :v", {":v": {"N": "1"}}),
        ("ADD x :v", {":v": {"NS": []}}),
        ("SET pk = :v", {":v": {"S": "other"}}),
        ("WRITE x = :v", {":v": {"N": "1"}}),
        ("", None),
    ],
)
def test_updates_that_are_refused(item: StoryItem, expression: str, values: dict[str, Any] | None) -> None:
    assert refused(lambda: item.update(expression, values)) == VALIDATION
    assert item.get() == ITEM


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("SET n = :v, n = :w", {":v": {"N": "1"}, ":w": {"N": "2"}}),
        ("SET #n = :v, n = :v", {":v": {"N": "1"}}),
        ("ADD ns :v DELETE ns :w", {":v": {"NS": ["1"]}, ":w": {"NS": ["2"]}}),
        ("SET x = :v SET y = :v", {":v": {"N": "1"}}),
        ("SET x = s + :v", {":v": {"N": "1"}}),
        ("SET x :v", {":v": {"N": "1"}}),
    ],
)
def test_updates_that_are_refused_where_they_are_checked(
    side: Side, item: StoryItem, expression: str, values: dict[str, Any]
) -> None:
    names = {"#n": "n"} if "#n" in expression else None
    refusal = refused(lambda: item.update(expression, values, names=names))
    assert refusal == side.expected(differences.UNCHECKED_UPDATES, VALIDATION, ministack="")


def test_names_may_be_placeholders_and_all_are_used(item: StoryItem) -> None:
    item.update("SET #n = :v", {":v": {"N": "1"}}, names={"#n": "n"})
    assert item.get()["n"] == {"N": "1"}
    unused = refused(lambda: item.update("SET #n = :v", {":v": {"N": "2"}}, names={"#n": "n", "#s": "s"}))
    undefined = refused(lambda: item.update("SET #x = :v", {":v": {"N": "2"}}, names={"#n": "n"}))
    assert (unused, undefined) == (VALIDATION, VALIDATION)


def test_an_update_makes_the_item_that_is_not_there(side: Side) -> None:
    item = side.table()
    assert item.update("ADD ns :v", {":v": {"NS": ["1"]}}, ReturnValues="ALL_NEW") == {"ns": {"NS": ["1"]}}
    assert item.get() == {"ns": {"NS": ["1"]}}


def test_what_an_update_returns(item: StoryItem) -> None:
    values = {":v": {"N": "6"}}
    assert item.update("SET n = :v", values) == {}
    assert item.update("SET n = n + :v", values, ReturnValues="UPDATED_NEW") == {"n": {"N": "12"}}
    assert item.update("SET n = :v", values, ReturnValues="ALL_OLD") == {**ITEM, "n": {"N": "12"}}
    assert item.update("REMOVE n", None, ReturnValues="ALL_NEW") == {
        name: value for name, value in ITEM.items() if name != "n"
    }


def test_what_an_update_returns_as_updated_is_what_it_names(side: Side, item: StoryItem) -> None:
    answer = item.update("ADD ns :v", {":v": {"NS": ["4"]}}, ReturnValues="UPDATED_NEW")
    assert answer == {"ns": {"NS": ["1", "2", "3", "4"]}}
    same = item.update("ADD ns :v", {":v": {"NS": ["4"]}}, ReturnValues="UPDATED_NEW")
    assert same == side.expected(differences.UPDATED_NEW, answer, moto={})


def test_a_value_that_is_an_empty_set_is_refused(side: Side, item: StoryItem) -> None:
    refusal = refused(lambda: item.update("SET x = :v", {":v": {"SS": []}}))
    assert refusal == side.expected(differences.EMPTY_SET_OF_TEXTS, VALIDATION, moto="")
    assert refused(lambda: item.update("SET x = :v", {":v": {"NS": []}})) == VALIDATION


def test_a_failed_condition_tells_the_item_where_it_is_asked_to(side: Side, item: StoryItem) -> None:
    request: dict[str, Any] = {"when": "n = :v", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    with pytest.raises(side.dynamodb.exceptions.ConditionalCheckFailedException) as failure:
        item.update("SET s = :v", {":v": {"N": "6"}}, **request)
    assert comparable(failure.value.response["Item"]) == ITEM
    with pytest.raises(side.dynamodb.exceptions.ConditionalCheckFailedException) as failure:
        item.update("SET s = :v", {":v": {"N": "6"}}, when="n = :v")
    assert "Item" not in failure.value.response
    assert item.get() == ITEM


def test_a_failed_condition_on_nothing_tells_nothing(side: Side) -> None:
    item = side.table()
    request: dict[str, Any] = {"when": "attribute_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    with pytest.raises(ClientError) as failure:
        item.update("SET s = :v", {":v": {"N": "6"}}, **request)
    assert not failure.value.response.get("Item")
    assert item.get() == {}


def test_an_item_has_at_most_400_kilobytes(side: Side) -> None:
    item = side.table()
    item.update("SET a = :v", {":v": {"S": "x" * 300_000}})
    assert refused(lambda: item.update("SET b = :v", {":v": {"S": "x" * 120_000}})) == VALIDATION
    assert set(item.get()) == {"a"}


def test_an_expression_has_at_most_300_operators(side: Side) -> None:
    item = side.table()
    item.put(n={"N": "1"})
    fits = " AND ".join(["n = :v"] * 150)
    too_many = f"{fits} AND n = :v"
    item.update("SET x = :v", {":v": {"N": "1"}}, when=fits)
    refusal = refused(lambda: item.update("SET x = :v", {":v": {"N": "1"}}, when=too_many))
    assert refusal == side.expected(differences.OPERATORS, VALIDATION, moto="", ministack="")


def test_an_expression_has_at_most_4_kilobytes(side: Side) -> None:
    item = side.table()
    names = {f"#{'n' * 200}{number}": f"n{number}" for number in range(21)}
    expression = "SET " + ", ".join(f"{name} = :v" for name in names)
    refusal = refused(lambda: item.update(expression, {":v": {"N": "1"}}, names=names))
    assert refusal == side.expected(differences.LONG_EXPRESSION, VALIDATION, moto="")


def test_doubled_parentheses_are_refused(item: StoryItem) -> None:
    refusal = refused(lambda: item.update("SET x = :v", {":v": {"N": "1"}}, when="((n = n))"))
    assert refusal == VALIDATION
    item.update("SET x = :v", {":v": {"N": "1"}}, when="(n = n) AND (s = s)")


@pytest.mark.parametrize("text", ["1" * 39, "0." + "1" * 39, "1e126", "1e-131", "abc"])
def test_numbers_that_are_refused(side: Side, item: StoryItem, text: str) -> None:
    refusal = refused(lambda: item.update("SET n = :v", {":v": {"N": text}}))
    assert refusal == side.expected(differences.NUMBERS, VALIDATION, moto="")


@pytest.mark.parametrize("text", ["1" * 38, "-0." + "1" * 38, "9" * 38 + "0" * 88, "1e-130"])
def test_numbers_that_just_fit(item: StoryItem, text: str) -> None:
    item.update("SET n = :v", {":v": {"N": text}})
    assert item.holds("n = :v", {":v": {"N": text}})


def test_sums_have_38_digits(side: Side, item: StoryItem) -> None:
    item.update("SET n = n + :v", {":v": {"N": "1" * 30 + ".5"}})
    exact = item.get()["n"] == {"N": "1" * 29 + "6.5"}
    assert exact is side.expected(differences.SUMS, True, moto=False, ministack=False)


def test_a_set_has_no_member_twice(side: Side, item: StoryItem) -> None:
    refusal = refused(lambda: item.update("ADD ns :v", {":v": {"NS": ["7", "7"]}}))
    assert refusal == side.expected(differences.DOUBLE_MEMBER, VALIDATION, moto="")


def test_an_item_put_has_no_empty_set(side: Side) -> None:
    item = side.table()
    assert refused(lambda: item.put(x={"NS": []})) == VALIDATION
    assert refused(lambda: item.put(x={"SS": []})) == VALIDATION
    assert refused(lambda: item.put(x={"M": {"y": {"SS": []}}})) == VALIDATION


@pytest.mark.parametrize("word", ["state", "Status", "TOTAL"])
def test_reserved_words_need_a_placeholder(item: StoryItem, word: str) -> None:
    value = {":v": {"N": "1"}}
    assert refused(lambda: item.update(f"SET {word} = :v", value)) == VALIDATION
    assert refused(lambda: item.update("SET x = :v", value, when=f"attribute_not_exists({word})")) == VALIDATION
    item.update("SET #w = :v", value, names={"#w": word})
    assert item.get()[word] == {"N": "1"}


def test_what_an_update_returns_of_what_was(item: StoryItem) -> None:
    answer = item.update("SET n = :v, x = :v", {":v": {"N": "6"}}, ReturnValues="UPDATED_OLD")
    assert answer == {"n": {"N": "5"}}
    assert item.update("REMOVE n", ReturnValues="UPDATED_NEW") == {}


def test_what_can_be_returned_is_checked_before_anything_is_done(side: Side, item: StoryItem) -> None:
    assert refused(lambda: item.update("SET n = :v", {":v": {"N": "6"}}, ReturnValues="EVERYTHING")) == VALIDATION
    put = {"TableName": TABLE, "Item": item.key, "ReturnValues": "ALL_NEW"}
    assert refused(lambda: side.dynamodb.put_item(**put)) == VALIDATION
    assert item.get() == ITEM


def test_an_update_that_is_refused_in_the_middle_changes_nothing(side: Side, item: StoryItem) -> None:
    refusal = refused(lambda: item.update("SET x = :v ADD s :v", {":v": {"N": "1"}}))
    assert refusal == VALIDATION
    changed = {**ITEM, "x": {"N": "1"}}
    assert item.get() == side.expected(differences.HALF_AN_UPDATE, ITEM, moto=changed)


def test_a_copy_is_a_value_of_its_own(side: Side, item: StoryItem) -> None:
    item.update("SET x = ns")
    item.update("ADD x :v", {":v": {"NS": ["4"]}})
    original = item.get()["ns"]
    with_the_copy = {"NS": ["1", "2", "3", "4"]}
    assert original == side.expected(differences.COPIES, ITEM["ns"], moto=with_the_copy)


def test_values_of_different_kinds_have_no_order(side: Side, item: StoryItem) -> None:
    held = side.broken_or(lambda: item.holds("s < :v", {":v": {"N": "1"}}))
    assert held == side.expected(differences.BROKEN_BY_CONDITIONS, False, moto=BROKEN)


# --- other operations ---


def test_what_a_put_and_a_delete_return_is_what_was(side: Side, item: StoryItem) -> None:
    put = side.dynamodb.put_item(TableName=TABLE, Item={**item.key, "x": {"N": "1"}}, ReturnValues="ALL_OLD")
    assert comparable(put["Attributes"]) == ITEM
    gone = side.dynamodb.delete_item(TableName=TABLE, Key=item.key, ReturnValues="ALL_OLD")
    assert comparable(gone["Attributes"]) == {"x": {"N": "1"}}
    again = side.dynamodb.delete_item(TableName=TABLE, Key=item.key, ReturnValues="ALL_OLD")
    assert not again.get("Attributes")


@pytest.mark.parametrize("key", [{"pk": {"S": ""}}, {"pk": {"S": "a"}, "x": {"S": "b"}}, {"x": {"S": "b"}}])
def test_keys_that_are_refused(side: Side, key: dict[str, Any]) -> None:
    assert refused(lambda: side.dynamodb.get_item(TableName=TABLE, Key=key)) == VALIDATION


def test_a_key_has_the_type_that_the_table_says(side: Side) -> None:
    refusal = refused(lambda: side.dynamodb.get_item(TableName=TABLE, Key={"pk": {"N": "1"}}))
    assert refusal == side.expected(differences.KEY_TYPE, VALIDATION, moto="")


def test_an_item_put_has_its_key_and_400_kilobytes_at_most(side: Side) -> None:
    item = side.table()
    nameless = {"TableName": TABLE, "Item": {"x": {"N": "1"}}}
    assert refused(lambda: side.dynamodb.put_item(**nameless)) == VALIDATION
    assert refused(lambda: item.put(a={"S": "x" * 400 * 1024})) == VALIDATION
    fits = refused(lambda: item.put(a={"S": "x" * 399 * 1024}))
    assert fits == side.expected(differences.KILOBYTES, "", moto=VALIDATION)


def test_a_consistent_read_sees_what_was_just_written(side: Side) -> None:
    item = side.table()
    for number in range(3):
        item.put(n={"N": str(number)})
        assert item.get() == {"n": {"N": str(number)}}


@pytest.fixture
def days(side: Side) -> str:
    """A table with four items in its index `due`, and one that is not in it."""
    table = new_name("table")
    index = {
        "IndexName": "due",
        "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "day", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    definitions = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "kind", "day")]
    make_table(side.dynamodb, table, AttributeDefinitions=definitions, GlobalSecondaryIndexes=[index])
    for name, kind, day in (("1", "a", "03"), ("2", "a", "01"), ("3", "b", "01"), ("4", "a", "09")):
        put = {"pk": {"S": name}, "kind": {"S": kind}, "day": {"S": day}}
        side.dynamodb.put_item(TableName=table, Item=put)
    side.dynamodb.put_item(TableName=table, Item={"pk": {"S": "not in it"}, "kind": {"S": "a"}})
    return table


def test_an_index_is_queried_in_its_order(side: Side, days: str) -> None:
    answer = side.dynamodb.query(
        TableName=days,
        IndexName="due",
        KeyConditionExpression="#k = :k AND #d <= :d",
        ExpressionAttributeNames={"#k": "kind", "#d": "day"},
        ExpressionAttributeValues={":k": {"S": "a"}, ":d": {"S": "05"}},
    )
    assert [item["pk"]["S"] for item in answer["Items"]] == ["2", "1"]
    assert answer["Count"] == 2
    assert "LastEvaluatedKey" not in answer


def test_an_index_is_queried_page_by_page(side: Side, days: str) -> None:
    wanted = {
        "TableName": days,
        "IndexName": "due",
        "KeyConditionExpression": "kind = :k",
        "ExpressionAttributeValues": {":k": {"S": "a"}},
        "Limit": 2,
    }
    first = side.dynamodb.query(**wanted)
    assert [item["pk"]["S"] for item in first["Items"]] == ["2", "1"]
    assert first["LastEvaluatedKey"] == {"pk": {"S": "1"}, "kind": {"S": "a"}, "day": {"S": "03"}}
    second = side.dynamodb.query(**wanted, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [item["pk"]["S"] for item in second["Items"]] == ["4"]


def test_items_are_put_in_batches(side: Side) -> None:
    table = new_name("table")
    make_table(side.dynamodb, table)
    assert side.dynamodb.batch_write_item(RequestItems={table: puts(25)})["UnprocessedItems"] == {}
    assert side.dynamodb.scan(TableName=table)["Count"] == 25


def test_a_batch_of_more_than_25_is_refused(model: Side) -> None:
    """moto takes it (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html)."""
    table = new_name("table")
    make_table(model.dynamodb, table)
    wanted = {table: puts(26)}
    assert refused(lambda: model.dynamodb.batch_write_item(RequestItems=wanted)) == "ValidationException"


def puts(number: int) -> list[dict[str, Any]]:
    return [{"PutRequest": {"Item": {"pk": {"S": f"{index:02}"}}}} for index in range(number)]


def test_a_put_replaces_and_may_be_conditional(side: Side, item: StoryItem) -> None:
    item.put(only={"N": "1"})
    assert item.get() == {"only": {"N": "1"}}
    request = {"TableName": TABLE, "Item": {**item.key}, "ConditionExpression": "attribute_not_exists(pk)"}
    assert refused(lambda: side.dynamodb.put_item(**request)) == "ConditionalCheckFailedException"


def test_a_batch_reads_what_there_is(side: Side, item: StoryItem) -> None:
    other = side.table()
    keys = [item.key, other.key]
    answer = side.dynamodb.batch_get_item(RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}})
    assert [comparable(found) for found in answer["Responses"][TABLE]] == [ITEM]
    assert answer["UnprocessedKeys"] == {}
    twice = {TABLE: {"Keys": [item.key, item.key]}}
    assert refused(lambda: side.dynamodb.batch_get_item(RequestItems=twice)) == VALIDATION
    many = {TABLE: {"Keys": [{"pk": {"S": str(number)}} for number in range(101)]}}
    assert refused(lambda: side.dynamodb.batch_get_item(RequestItems=many)) == VALIDATION
    unknown = {"nobody": {"Keys": [item.key]}}
    assert refused(lambda: side.dynamodb.batch_get_item(RequestItems=unknown)) == "ResourceNotFoundException"
    none = refused(lambda: side.dynamodb.batch_get_item(RequestItems={TABLE: {"Keys": []}}))
    assert none == side.expected(differences.NO_KEYS, VALIDATION, moto="")


def test_a_projection_reads_some_attributes(side: Side, item: StoryItem) -> None:
    answer = side.dynamodb.get_item(
        TableName=TABLE, Key=item.key, ProjectionExpression="n, #s", ExpressionAttributeNames={"#s": "s"}
    )
    assert answer["Item"] == {"n": {"N": "5"}, "s": {"S": "hello"}}


def test_a_transaction_writes_all_or_nothing(side: Side, item: StoryItem) -> None:
    fresh = side.table()

    def transact(expected: str) -> None:
        side.dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": TABLE, "Item": fresh.key, "ConditionExpression": "attribute_not_exists(pk)"}},
                {
                    "Update": {
                        "TableName": TABLE,
                        "Key": item.key,
                        "UpdateExpression": "SET x = :x",
                        "ConditionExpression": "n = :n",
                        "ExpressionAttributeValues": {":x": {"N": "1"}, ":n": {"N": expected}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                },
            ]
        )

    with pytest.raises(side.dynamodb.exceptions.TransactionCanceledException) as failure:
        transact("6")
    nothing, reason = failure.value.response["CancellationReasons"]
    assert (nothing["Code"], reason["Code"]) == ("None", "ConditionalCheckFailed")
    assert comparable(reason["Item"]) == ITEM
    assert item.get() == ITEM
    transact("5")
    assert item.get() == {**ITEM, "x": {"N": "1"}}
    with pytest.raises(side.dynamodb.exceptions.TransactionCanceledException) as failure:
        transact("5")
    assert [reason["Code"] for reason in failure.value.response["CancellationReasons"]] == [
        "ConditionalCheckFailed",
        "None",
    ]


def test_a_transaction_touches_no_item_twice(side: Side, item: StoryItem) -> None:
    action = {
        "Update": {
            "TableName": TABLE,
            "Key": item.key,
            "UpdateExpression": "SET x = :x",
            "ExpressionAttributeValues": {":x": {"N": "1"}},
        }
    }
    refusal = refused(lambda: side.dynamodb.transact_write_items(TransactItems=[action, action]))
    assert refusal == VALIDATION
    failing = {"Update": {**action["Update"], "ConditionExpression": "attribute_exists(x)"}}
    refusal = refused(lambda: side.dynamodb.transact_write_items(TransactItems=[failing, action]))
    assert refusal == VALIDATION


def test_a_transaction_is_cancelled_by_an_item_that_cannot_be_updated(side: Side, item: StoryItem) -> None:
    fresh = side.table()

    def transact() -> None:
        side.dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": TABLE, "Item": fresh.key}},
                {
                    "Update": {
                        "TableName": TABLE,
                        "Key": item.key,
                        "UpdateExpression": "ADD s :v",
                        "ExpressionAttributeValues": {":v": {"N": "1"}},
                    }
                },
            ]
        )

    with pytest.raises(ClientError) as failure:
        transact()
    reasons = [reason["Code"] for reason in failure.value.response.get("CancellationReasons", [])]
    assert reasons == side.expected(differences.UNFIT_IN_A_TRANSACTION, ["None", "ValidationError"], moto=[])
    assert not side.dynamodb.get_item(TableName=TABLE, Key=fresh.key).get("Item")


def test_a_transaction_may_check_an_item_that_it_leaves_alone(side: Side, item: StoryItem) -> None:
    fresh = side.table()

    def transact(condition: str) -> None:
        check = {"TableName": TABLE, "Key": item.key, "ConditionExpression": condition}
        put = {"TableName": TABLE, "Item": fresh.key}
        side.dynamodb.transact_write_items(TransactItems=[{"ConditionCheck": check}, {"Put": put}])

    with pytest.raises(side.dynamodb.exceptions.TransactionCanceledException) as failure:
        transact("attribute_exists(absent)")
    reasons = failure.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["ConditionalCheckFailed", "None"]
    assert "Item" not in reasons[0]
    transact("attribute_exists(n)")
    assert item.get() == ITEM


def test_a_transaction_has_1_to_100_actions(side: Side) -> None:
    table = new_name("table")
    make_table(side.dynamodb, table)
    many = [{"Put": {"TableName": table, "Item": {"pk": {"S": str(number)}}}} for number in range(101)]
    assert refused(lambda: side.dynamodb.transact_write_items(TransactItems=many)) == VALIDATION
    side.dynamodb.transact_write_items(TransactItems=many[:100])
    none = refused(lambda: side.dynamodb.transact_write_items(TransactItems=[]))
    assert none == side.expected(differences.NO_ACTIONS, VALIDATION, moto="")


def test_a_token_belongs_to_one_transaction(side: Side) -> None:
    one, other = ({"Put": {"TableName": TABLE, "Item": side.table().key}} for _ in range(2))
    token = new_name("token")
    side.dynamodb.transact_write_items(TransactItems=[one], ClientRequestToken=token)
    refusal = refused(lambda: side.dynamodb.transact_write_items(TransactItems=[other], ClientRequestToken=token))
    assert refusal == side.expected(differences.REQUEST_TOKEN, "IdempotentParameterMismatchException", moto="")


def test_a_transaction_with_the_same_token_is_done_once(side: Side, clock: StoryClock) -> None:
    item = side.table()
    action = {
        "Update": {
            "TableName": TABLE,
            "Key": item.key,
            "UpdateExpression": "ADD n :v",
            "ExpressionAttributeValues": {":v": {"N": "1"}},
        }
    }

    def transact(token: str) -> None:
        side.dynamodb.transact_write_items(TransactItems=[action], ClientRequestToken=token)

    token = new_name("token")
    transact(token)
    transact(token)
    assert item.get()["n"] == side.expected(differences.REQUEST_TOKEN, {"N": "1"}, moto={"N": "2"})
    clock.later(601)
    transact(token)
    assert item.get()["n"] == side.expected(differences.REQUEST_TOKEN, {"N": "2"}, moto={"N": "3"})


def test_an_unknown_table_is_refused(side: Side) -> None:
    refusal = refused(lambda: side.dynamodb.get_item(TableName="nobody", Key={"pk": {"S": "x"}}))
    assert refusal == "ResourceNotFoundException"


# --- streams ---


def test_every_change_is_in_the_stream_in_order(side: Side) -> None:
    table = new_name("table")
    stream = make_table(side.dynamodb, table)
    key = {"pk": {"S": "i"}}

    def update(number: str) -> None:
        side.dynamodb.update_item(
            TableName=table, Key=key, UpdateExpression="SET n = :v", ExpressionAttributeValues={":v": {"N": number}}
        )

    for number in ("1", "1", "2"):
        update(number)
    side.dynamodb.delete_item(TableName=table, Key=key)
    side.dynamodb.delete_item(TableName=table, Key=key)
    update("3")
    records = side.changes(stream)
    changes = [(record["eventName"], *_images(record)) for record in records]
    one, two, three = ({"n": {"N": number}} for number in ("1", "2", "3"))
    nothing: dict[str, Any] = {}
    made, changed, gone = ("INSERT", nothing, one), ("MODIFY", one, two), ("REMOVE", two, nothing)
    empty, made_again = ("INSERT", nothing, nothing), ("INSERT", nothing, three)
    assert changes == side.expected(
        differences.RECORDS,
        [made, changed, gone, made_again],
        moto=[empty, made, ("MODIFY", one, one), changed, gone, empty, made_again],
    )
    assert {record["dynamodb"]["Keys"]["pk"]["S"] for record in records} == {"i"}
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
    assert numbers == sorted({*numbers})


def test_a_transaction_is_in_the_stream_where_it_changed_something(side: Side) -> None:
    table = new_name("table")
    stream = make_table(side.dynamodb, table)
    side.dynamodb.put_item(TableName=table, Item={"pk": {"S": "checked"}})
    check = {"TableName": table, "Key": {"pk": {"S": "checked"}}, "ConditionExpression": "attribute_exists(pk)"}
    put = {"TableName": table, "Item": {"pk": {"S": "put"}}, "ConditionExpression": "attribute_not_exists(pk)"}
    request = {"TransactItems": [{"ConditionCheck": check}, {"Put": put}]}
    side.dynamodb.transact_write_items(**request)
    assert refused(lambda: side.dynamodb.transact_write_items(**request)) == "TransactionCanceledException"
    names = [record["dynamodb"]["Keys"]["pk"]["S"] for record in side.changes(stream)]
    assert names == ["checked", "put"]


def _images(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The item before and after a change."""
    old, new = (comparable(record["dynamodb"].get(name, {})) for name in ("OldImage", "NewImage"))
    return old, new


# --- any of it ---

_SETS = [{"NS": ["1"]}, {"NS": ["2", "3"]}, {"SS": ["a", "b"]}]
_VALUES = [{"N": "1"}, {"N": "-2"}, {"S": "a"}, {"S": ""}, {"BOOL": False}, *_SETS]
_ACTIONS = ["SET {0} = :v", "SET {0} = if_not_exists({0}, :v)", "ADD {0} :v", "DELETE {0} :v", "REMOVE {0}",
            "SET {0} = :v REMOVE {1}"]  # fmt: skip
_CONDITIONS = ["", "attribute_exists({0})", "{0} = :c", "NOT contains({0}, :c)", "{0} <> :c AND NOT {1} = :one",
               "{0} IN (:c, :one) OR {1} = :c"]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_any_walk_ends_in_the_same_item_in_moto(model: Side, moto: Side, seed: int) -> None:
    """No copies, no orderings, one action at a time that may be refused: there, moto is right."""
    _walk(model, moto, seed, [*_ACTIONS, "SET {0} = {1} + :v"], _CONDITIONS)


@pytest.mark.parametrize("seed", range(6))
def test_any_walk_ends_in_the_same_item_in_ministack(model: Side, ministack: Side, seed: int) -> None:
    """No sums: there, MiniStack is right."""
    actions = [*_ACTIONS, "SET {0} = {1}", "SET {0} = :v ADD {1} :v", "SET {0} = {1}, {1} = {0}"]
    conditions = [*_CONDITIONS, "{0} < :n OR {1} >= :n", "size({0}) > :one", "{0} BETWEEN :one AND :n"]
    _walk(model, ministack, seed, actions, conditions)


def _walk(model: Side, emulator: Side, seed: int, actions: Sequence[str], conditions: Sequence[str]) -> None:
    """Random updates under random conditions: the same answers, refusals and items."""
    chance = random.Random(seed)  # noqa: S311
    items = [model.table(), emulator.table()]
    for step in range(60):
        expression = chance.choice(actions).format(*chance.sample(["a", "b", "c"], 2))
        condition = chance.choice(conditions).format(*chance.sample(["a", "b", "c"], 2)) or None
        given = {":v": chance.choice(_VALUES), ":c": chance.choice(_VALUES), ":one": {"N": "1"}, ":n": {"N": "2"}}
        text = f"{expression} {condition}"
        values = {name: value for name, value in given.items() if re.search(rf"{name}\b", text)} or None
        answers = [_answer(item, expression, values, condition) for item in items]
        assert answers[0] == answers[1], (step, expression, condition, values, items[1].get())
        if isinstance(answers[0], str):
            assert items[0].get() == items[1].get(), (step, expression, condition, values, answers)


def _answer(
    item: StoryItem, expression: str, values: dict[str, Any] | None, condition: str | None
) -> dict[str, Any] | str:
    answer: dict[str, Any] = {}
    refusal = refused(lambda: answer.update(item.update(expression, values, when=condition, ReturnValues="ALL_NEW")))
    return refusal or answer


# --- the model alone ---


def test_writes_are_charged_by_the_larger_item(clock: StoryClock) -> None:
    model = DynamoDB(lambda: clock.seconds, {TABLE: "pk"})
    item = StoryItem(Client("dynamodb", model, Gate(), ""), {"pk": {"S": "i"}})
    item.update("SET a = :v", {":v": {"S": "x" * 2_500}})
    assert model.write_units[TABLE] == 3
    item.update("REMOVE a")
    assert model.write_units[TABLE] == 6
    assert not item.holds("attribute_exists(a)")
    assert model.write_units[TABLE] == 7


def test_nested_paths_are_not_modelled(clock: StoryClock) -> None:
    model = DynamoDB(lambda: clock.seconds, {TABLE: "pk"})
    item = StoryItem(Client("dynamodb", model, Gate(), ""), {"pk": {"S": "i"}})
    with pytest.raises(NotImplementedError):
        item.update("SET a.b = :v", {":v": {"N": "1"}})
