"""Log events as JSON lines with their metrics; secrets are removed from all log lines."""

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
#: Fields that only hold our own names. They are not redacted, even if a name is also a secret's user name: metrics and
#: people search for them.
NAMES = frozenset({
    "_aws", "action", "environment", "job", "level", "location", "run", "service", "target", "timestamp",
})  # fmt: skip


def write_logs(environment: str, stream: "TextIO | None" = None, redact: Redact = IN_USE.redacted) -> None:
    """Write log events to `stream`, by default stderr, one line each.

    A killed process loses no earlier log lines. `redact` replaces secrets in use, also in the lines of other loggers.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(environment, redact))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    _quieten_others(redact)


def _quieten_others(redact: Redact) -> None:
    # urllib3 logs its retries with the URL's query and the server's answer.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    _replace_filter(logging.getLogger("asyncio"), WithoutErrors())
    # Lambda's handler is among the root's handlers. Without one, Python writes warnings through `lastResort`.
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None:
            _replace_filter(handler, WithoutSecrets(redact))


def _replace_filter(filterer: logging.Filterer, new: logging.Filter) -> None:
    filterer.filters[:] = [each for each in filterer.filters if type(each) is not type(new)] + [new]


class WithoutSecrets(logging.Filter):
    """A filter that passes every record, with secrets replaced in its text and traceback."""

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
    """A filter that passes every record, with an error reduced to its class and place.

    The text of an error may quote a payload or an answer.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            # The lines after the first one show the error.
            said = _said(record).partition("\n")[0]
            record.msg, record.args = f"{said}: {class_and_place(record.exc_info[1])}", ()
            record.exc_info, record.exc_text = None, None
        return True


def _said(record: logging.LogRecord) -> str:
    """Return the text of a record; one that cannot be formatted loses its arguments."""
    try:
        return record.getMessage()
    except Exception:
        record.msg, record.args = "a line that cannot be put together", ()
        return record.getMessage()


class EventFormatter(LambdaPowertoolsFormatter):
    """A formatter with Powertools' fields, environment, job and the event's metrics.

    The metrics use CloudWatch's embedded metric format
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
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
        # An empty service, because a service would be another dimension.
        metrics = EphemeralMetrics(namespace=NAMESPACE, service="")
        metrics.add_dimension(ENVIRONMENT, self._environment)
        # Only a job that the engine logged: a stray message may name any job, and each name would be a paid metric.
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
