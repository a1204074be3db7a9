"""Log events as JSON lines that carry their metrics, and no line of anybody's with a secret."""

import logging
import traceback
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics

from rollcall.adapters.secrets import InUse
from rollcall.core.actions import logger
from rollcall.core.errors import class_and_place
from rollcall.core.metrics import ENVIRONMENT, JOB, NAMESPACE, measured
from rollcall.core.redaction import Redact
from rollcall.core.run import job_of

if TYPE_CHECKING:
    from typing import TextIO

#: The secrets that this process has read.
IN_USE = InUse()
#: Fields that only ever hold names of ours. One is left alone though it is also somebody's user name: metrics and
#: people search for it.
NAMES = frozenset({
    "_aws", "action", "environment", "job", "level", "location", "run", "service", "target", "timestamp",
})  # fmt: skip


def write_logs(environment: str, stream: "TextIO | None" = None, redact: Redact = IN_USE.redacted) -> None:
    """Write log events to `stream`, stderr by default, a line each, at once: a killed process loses no earlier lines.

    Secrets in use are replaced in them by `redact`, and so they are in what other loggers write.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(environment, redact))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    _quieten_others(redact)


def _quieten_others(redact: Redact) -> None:
    # It tells of what it tries again, with the URL's query and what the server said.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    _replace_filter(logging.getLogger("asyncio"), WithoutErrors())
    # Lambda's is among the root's; where there is none, Python writes warnings by itself.
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None:
            _replace_filter(handler, WithoutSecrets(redact))


def _replace_filter(filterer: logging.Filterer, new: logging.Filter) -> None:
    filterer.filters[:] = [each for each in filterer.filters if type(each) is not type(new)] + [new]


class WithoutSecrets(logging.Filter):
    """Lets every record pass, with secrets replaced in its text and its traceback."""

    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        said = _said(record)
        if record.exc_info and record.exc_info[1] is not None:
            said += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
        redacted = self._redact(said)
        if redacted != said:
            record.msg, record.args, record.exc_info, record.exc_text = redacted, (), None, None
        return True


class WithoutErrors(logging.Filter):
    """Lets every record pass, with an error in it only named: its text may quote a payload or an answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            # What follows the first line shows the error.
            said = _said(record).partition("\n")[0]
            record.msg, record.args = f"{said}: {class_and_place(record.exc_info[1])}", ()
            record.exc_info, record.exc_text = None, None
        return True


def _said(record: logging.LogRecord) -> str:
    """The text of a record. One that cannot be put together loses its arguments: nobody may fail by logging."""
    try:
        return record.getMessage()
    except Exception:
        record.msg, record.args = "a line that cannot be put together", ()
        return record.getMessage()


class EventFormatter(LambdaPowertoolsFormatter):
    """Powertools' fields, which its users know; environment and job; and what the event measures, as CloudWatch's
    embedded metric format (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
    """

    def __init__(self, environment: str, redact: Redact) -> None:
        super().__init__(environment=environment)
        self._environment = environment
        self._redact = redact

    def serialize(self, log: Any) -> str:
        metrics = self._metrics(log)
        if "job" not in log and (job := _job_in(log.get("run"))) is not None:
            log["job"] = job
        shown = {name: value if name in NAMES else self._without_secrets(value) for name, value in log.items()}
        return super().serialize(shown | metrics)

    def _without_secrets(self, value: Any) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {name: self._without_secrets(member) for name, member in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._without_secrets(member) for member in value]
        return self._redact(str(value))

    def _metrics(self, log: dict[str, Any]) -> dict[str, Any]:
        found = measured(log)
        if not found:
            return {}
        # No service: it would be a dimension more.
        metrics = EphemeralMetrics(namespace=NAMESPACE, service="")
        metrics.add_dimension(ENVIRONMENT, self._environment)
        # Only as the engine tells it: a stray message may name any job, and each would be paid for.
        if JOB in log:
            metrics.add_dimensions(**{ENVIRONMENT: self._environment, JOB: log[JOB]})
        for metric, value in found.items():
            metrics.add_metric(metric.value, metric.unit.value, value)
        return dict(metrics.serialize_metric_set())


def _job_in(run: object) -> str | None:
    try:
        return job_of(run) if isinstance(run, str) else None
    except ValueError:
        return None
