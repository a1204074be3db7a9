"""Log events as JSON lines that carry their metrics."""

import logging
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics

from rollcall.core.actions import logger
from rollcall.core.metrics import ENVIRONMENT, JOB, NAMESPACE, measured
from rollcall.core.run import job_of

if TYPE_CHECKING:
    from typing import TextIO


def write_logs(environment: str, stream: "TextIO | None" = None) -> None:
    """Write log events to `stream`, stderr by default, a line each, at once: who is killed has told all until then."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter(environment))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class EventFormatter(LambdaPowertoolsFormatter):
    """Powertools' fields, which its users know; environment and job; and what the event measures, as CloudWatch's
    embedded metric format (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
    """

    def __init__(self, environment: str) -> None:
        super().__init__(environment=environment)
        self._environment = environment

    def serialize(self, log: Any) -> str:
        metrics = self._metrics(log)
        if "job" not in log and (job := _job_in(log.get("run"))) is not None:
            log["job"] = job
        return super().serialize(log | metrics)

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
