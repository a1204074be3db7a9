"""Where the emulators do otherwise than AWS documents: stories assert each of these, and docs/models.md lists them.

`python -m tests.simulation.models.differences` prints that list.
"""

from collections.abc import Iterator
from dataclasses import dataclass

EMULATORS = {"moto": "moto", "ministack": "MiniStack"}

_SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_"
_SQS_GUIDE = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"
_STATES = "https://docs.aws.amazon.com/step-functions/latest/apireference/API_"
_DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_"
_DYNAMODB_GUIDE = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"


@dataclass(frozen=True)
class Difference:
    """What AWS documents, and what an emulator does instead."""

    #: Service and operation.
    operation: str
    documented: str
    #: Where AWS says so.
    page: str
    #: Empty for an emulator that does as AWS documents.
    moto: str = ""
    ministack: str = ""

    @property
    def sides(self) -> set[str]:
        """The emulators that do otherwise."""
        return {name for name in EMULATORS if getattr(self, name)}


# --- SQS ---

DUPLICATE_ID = Difference(
    "SQS SendMessage",
    "a duplicate is accepted and not delivered; it answers with the id of the original",
    f"{_SQS}SendMessage.html",
    moto="answers with an id that no message has",
)
FORGOTTEN_WITH_DELETE = Difference(
    "SQS SendMessage",
    "a deduplication id is kept track of even after the message is received and deleted",
    f"{_SQS}SendMessage.html",
    moto="forgets it with the delete",
)
GROUP_SCOPE = Difference(
    "SQS SendMessage",
    "with `DeduplicationScope` `messageGroup`, groups are deduplicated apart",
    f"{_SQS_GUIDE}high-throughput-fifo.html",
    moto="always over the whole queue",
)
SEQUENCE_NUMBER = Difference(
    "SQS SendMessage",
    "answers with the message's `SequenceNumber`, greater than those of its group before",
    f"{_SQS}SendMessage.html",
    moto="has none where the deduplication id is made of the body",
)
FIFO_IDS = Difference(
    "SQS SendMessage",
    "ids of groups and of deduplication have up to 128 letters, digits and punctuation characters, all of them ASCII",
    f"{_SQS}SendMessage.html",
    moto="takes any text",
    ministack="takes any text",
)
EMPTY_BODY = Difference(
    "SQS SendMessage",
    "a message has at least one character",
    f"{_SQS}SendMessage.html",
    moto="takes an empty one",
)
FORBIDDEN_TEXT = Difference(
    "SQS SendMessageBatch",
    "InvalidMessageContents for an entry with characters that no message may hold",
    f"{_SQS}SendMessage.html",
    moto="takes it",
)
ENTRY_WITHOUT_GROUP = Difference(
    "SQS SendMessageBatch",
    "an entry that fails fails alone",
    f"{_SQS}SendMessageBatch.html",
    moto="refuses the whole batch for an entry without group",
)
WHOLE_GROUPS = Difference(
    "SQS ReceiveMessage",
    "a receive first returns as many messages of one group as possible",
    f"{_SQS_GUIDE}FIFO-queues-understanding-logic.html",
    moto="in the order of sending",
    ministack="in the order of sending",
)
OLD_AT_THE_FRONT = Difference(
    "SQS ReceiveMessage",
    "a message past its retention is gone",
    f"{_SQS}SetQueueAttributes.html",
    moto="a receive that meets one returns nothing",
)
DEAD_LETTER_SOURCE = Difference(
    "SQS ReceiveMessage",
    "a dead letter has `DeadLetterQueueSourceArn`",
    f"{_SQS}ReceiveMessage.html",
    moto="leaves it out",
)
DEAD_LETTER_DEDUPLICATION = Difference(
    "SQS ReceiveMessage",
    "a dead letter's deduplication id is the id of the original message",
    f"{_SQS_GUIDE}sqs-configure-dead-letter-queue-redrive.html",
    moto="stays as it was",
    ministack="stays as it was",
)
DEAD_LETTER_AGE = Difference(
    "SQS ReceiveMessage",
    "on a FIFO dead-letter queue a message's age begins anew",
    f"{_SQS_GUIDE}sqs-dead-letter-queues.html",
    moto="goes on from the sending",
)
LATE_DELETE = Difference(
    "SQS DeleteMessage",
    "on a FIFO queue a delete fails once the visibility has ended",
    f"{_SQS_GUIDE}sqs-visibility-timeout.html",
    moto="deletes with any receipt that was ever given",
    ministack="deletes with the latest receipt",
)
DELETED_TWICE = Difference(
    "SQS DeleteMessage",
    "deleting a message that is gone succeeds",
    f"{_SQS}DeleteMessage.html",
    ministack="ReceiptHandleIsInvalid",
)
LATE_CHANGE = Difference(
    "SQS ChangeMessageVisibility",
    "MessageNotInflight for a receipt that is not the latest",
    f"{_SQS}ChangeMessageVisibility.html",
    moto="takes any receipt that was ever given",
    ministack="ReceiptHandleIsInvalid",
)
TWELVE_HOURS = Difference(
    "SQS ChangeMessageVisibility",
    "visibility ends twelve hours after the receive at the latest",
    f"{_SQS}ChangeMessageVisibility.html",
    ministack="takes any number of seconds",
)

LONG_VISIBILITY = Difference(
    "SQS ChangeMessageVisibilityBatch",
    "a visibility beyond twelve hours fails its entry",
    f"{_SQS}ChangeMessageVisibilityBatch.html",
    ministack="takes any number of seconds",
)
BATCH_OF_RECEIPTS = Difference(
    "SQS DeleteMessageBatch",
    "up to ten entries, under different ids",
    f"{_SQS}DeleteMessageBatch.html",
    moto="does not look at number and ids",
)
PURGE_AGAIN = Difference(
    "SQS PurgeQueue",
    "once in sixty seconds",
    f"{_SQS}PurgeQueue.html",
    ministack="at any time",
)
REDRIVE = Difference(
    "SQS StartMessageMoveTask",
    "moves dead letters back to where they came from, as new messages: under new ids, enqueued now",
    f"{_SQS_GUIDE}sqs-configure-dead-letter-queue-redrive.html",
    moto="breaks down",
    ministack="InvalidAction",
)

# --- DynamoDB ---

UPDATED_NEW = Difference(
    "DynamoDB UpdateItem",
    "`UPDATED_NEW` returns the attributes that the update names (whether also those that stay equal is not said)",
    f"{_DYNAMODB}UpdateItem.html",
    moto="leaves out a set that stays equal",
)
EMPTY_SET_OF_TEXTS = Difference(
    "DynamoDB UpdateItem",
    "a set may not be empty",
    f"{_DYNAMODB_GUIDE}HowItWorks.NamingRulesDataTypes.html",
    moto="takes an empty set of texts in an update",
)
NUMBERS = Difference(
    "DynamoDB UpdateItem",
    "a number has up to 38 digits and a magnitude from 1e-130 to below 1e126",
    f"{_DYNAMODB_GUIDE}HowItWorks.NamingRulesDataTypes.html",
    moto="takes any text as a number in an update",
)
SUMS = Difference(
    "DynamoDB UpdateItem",
    "numbers have a precision of 38 digits",
    f"{_DYNAMODB_GUIDE}HowItWorks.NamingRulesDataTypes.html",
    moto="sums have 28",
    ministack="sums have 28",
)
DOUBLE_MEMBER = Difference(
    "DynamoDB UpdateItem",
    "a set has no member twice",
    f"{_DYNAMODB_GUIDE}HowItWorks.NamingRulesDataTypes.html",
    moto="takes such sets in an update",
)
HALF_AN_UPDATE = Difference(
    "DynamoDB UpdateItem",
    "an update is done as a whole or not at all",
    f"{_DYNAMODB}UpdateItem.html",
    moto="keeps what came before the action that it refuses",
)
COPIES = Difference(
    "DynamoDB UpdateItem",
    "`SET a = b` gives a the value that b has now",
    f"{_DYNAMODB_GUIDE}Expressions.UpdateExpressions.html",
    moto="a set is shared from then on: what is added to one is in both",
)
OPERATORS = Difference(
    "DynamoDB UpdateItem",
    "an expression has at most 300 operators",
    f"{_DYNAMODB_GUIDE}Constraints.html",
    moto="does not count them",
    ministack="does not count them",
)
LONG_EXPRESSION = Difference(
    "DynamoDB UpdateItem",
    "an expression has at most 4 KB",
    f"{_DYNAMODB_GUIDE}Constraints.html",
    moto="does not measure it",
)
UNCHECKED_UPDATES = Difference(
    "DynamoDB UpdateItem",
    "each attribute is named once, each of SET, REMOVE, ADD and DELETE once; only numbers are added up",
    f"{_DYNAMODB_GUIDE}Expressions.UpdateExpressions.html",
    ministack="lets such updates through",
)
BROKEN_BY_CONDITIONS = Difference(
    "DynamoDB UpdateItem",
    "ValidationException for a condition that cannot be parsed; what compares with nothing does not hold",
    f"{_DYNAMODB_GUIDE}Expressions.OperatorsAndFunctions.html",
    moto="breaks down, with an error of Python's",
)
NOTHING = Difference(
    "DynamoDB UpdateItem",
    "an attribute that is not there equals nothing, not even another one (seen on AWS by ScyllaDB's tests)",
    "https://github.com/scylladb/scylladb/blob/master/test/alternator/test_condition_expression.py",
    moto="two attributes that are not there are equal",
    ministack="two attributes that are not there are equal",
)
EMPTY_CONDITION = Difference(
    "DynamoDB UpdateItem",
    "ValidationException for an empty condition",
    f"{_DYNAMODB}UpdateItem.html",
    moto="goes on as without one",
)
KILOBYTES = Difference(
    "DynamoDB PutItem",
    "an item has up to 400 KB (of 1,024 bytes)",
    f"{_DYNAMODB_GUIDE}Constraints.html",
    moto="up to 405,000 bytes",
)
KEY_TYPE = Difference(
    "DynamoDB GetItem",
    "a key has the type that the table's schema says",
    f"{_DYNAMODB}GetItem.html",
    moto="finds nothing",
)
NO_KEYS = Difference(
    "DynamoDB BatchGetItem",
    "1 to 100 keys",
    f"{_DYNAMODB}BatchGetItem.html",
    moto="takes none",
)
NO_ACTIONS = Difference(
    "DynamoDB TransactWriteItems",
    "1 to 100 actions",
    f"{_DYNAMODB}TransactWriteItems.html",
    moto="takes none",
)
UNFIT_IN_A_TRANSACTION = Difference(
    "DynamoDB TransactWriteItems",
    "an item that cannot take its update cancels the transaction, with the reason ValidationError",
    f"{_DYNAMODB}TransactWriteItems.html",
    moto="ValidationException, without reasons",
)
RECORDS = Difference(
    "DynamoDB Streams",
    "a write that changes nothing is no record; one that makes an item is one",
    f"{_DYNAMODB_GUIDE}Streams.html",
    moto="has a record for it; two for an update that makes an item, the first of an empty one",
)
REQUEST_TOKEN = Difference(
    "DynamoDB TransactWriteItems",
    "a transaction with the same token is done once within ten minutes",
    f"{_DYNAMODB}TransactWriteItems.html",
    moto="is done again",
)


# --- EventBridge ---

MALFORMED_DETAIL = Difference(
    "EventBridge PutEvents",
    "an entry whose detail is no JSON fails, alone and in its place, with the code MalformedDetail",
    "https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html",
    ministack="takes it",
)


# --- Step Functions ---

SAME_EXECUTION = Difference(
    "Step Functions StartExecution",
    "the same name and input as a running execution succeeds, and starts nothing",
    f"{_STATES}StartExecution.html",
    ministack="ExecutionAlreadyExists",
)
NAMES = Difference(
    "Step Functions StartExecution",
    "InvalidName for a name with blanks, colons and some others",
    f"{_STATES}StartExecution.html",
    ministack="takes any text",
)
LONG_NAMES = Difference(
    "Step Functions StartExecution",
    "a name has up to 80 characters (that more are a ValidationException is moto's word)",
    f"{_STATES}StartExecution.html",
    ministack="takes any text",
)
INPUT = Difference(
    "Step Functions StartExecution",
    "InvalidExecutionInput for an input that is no JSON",
    f"{_STATES}StartExecution.html",
    ministack="takes any text",
)


USED_TOKEN = Difference(
    "Step Functions SendTaskSuccess",
    "TaskTimedOut for a token that has expired, or whose task is over",
    f"{_STATES}SendTaskSuccess.html",
    ministack="TaskDoesNotExist",
)
NO_TOKEN = Difference(
    "Step Functions SendTaskSuccess",
    "InvalidToken for a text that is no token",
    f"{_STATES}SendTaskSuccess.html",
    ministack="TaskDoesNotExist",
)


def registered() -> dict[str, Difference]:
    """All of them, by name."""
    return {name: value for name, value in globals().items() if isinstance(value, Difference)}


def listed() -> Iterator[str]:
    """The lines of the list in docs/models.md."""
    yield f"| operation | AWS documents | {' | '.join(EMULATORS.values())} |"
    yield "|---|---|---|---|"
    for difference in registered().values():
        seen = [getattr(difference, name) or "as AWS" for name in EMULATORS]
        yield f"| {difference.operation} | [{difference.documented}]({difference.page}) | {' | '.join(seen)} |"


if __name__ == "__main__":
    print(*listed(), sep="\n")
