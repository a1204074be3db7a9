"""The environments there are. Every location is written out: none follows from another's, and none has a default."""

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from rollcall.core.errors import DeclarationError
from rollcall.core.target import Location
from stacks.environment import Ceilings, Environment

DEV = Environment(
    name="dev",
    systems=("accounting", "donations", "transfers", "water"),
    targets={
        "accounting": Location("https://accounting.dev.example.com", "rollcall/dev/accounting"),
        "bank": Location("https://bank.dev.example.com", "rollcall/dev/bank"),
        "licensing": Location("https://licensing.dev.example.com", "rollcall/dev/licensing"),
        "payments": Location("https://payments.dev.example.com", "rollcall/dev/payments"),
    },
    buckets={"nald": "example-dev-nald", "transfer-archive": "example-dev-transfer-archive"},
    reports={
        "client-deposits": Location("https://workday.dev.example.com/raas/client-deposits", "rollcall/dev/workday"),
        "lsp-bills": Location("https://workday.dev.example.com/raas/lsp-bills", "rollcall/dev/workday"),
        "paid-client-bills": Location("https://workday.dev.example.com/raas/paid-client-bills", "rollcall/dev/workday"),
        "unpaid-client-bills": Location(
            "https://workday.dev.example.com/raas/unpaid-client-bills", "rollcall/dev/workday"
        ),
    },
    schedules_enabled=False,
    # Small enough for an account that may run only ten functions at once.
    ceilings=Ceilings(workers=2, reserved=None),
    manifest_retention_days=30,
    log_retention=RetentionDays.TWO_WEEKS,
    removal_policy=RemovalPolicy.DESTROY,
    tags={"application": "rollcall", "stage": "dev"},
)

STAGING = Environment(
    name="staging",
    systems=("accounting", "donations", "transfers", "water"),
    targets={
        "accounting": Location("https://accounting.staging.example.com", "rollcall/staging/accounting"),
        "bank": Location("https://bank.staging.example.com", "rollcall/staging/bank"),
        "licensing": Location("https://licensing.staging.example.com", "rollcall/staging/licensing"),
        "payments": Location("https://payments.staging.example.com", "rollcall/staging/payments"),
    },
    buckets={"nald": "example-staging-nald", "transfer-archive": "example-staging-transfer-archive"},
    reports={
        "client-deposits": Location(
            "https://workday.staging.example.com/raas/client-deposits", "rollcall/staging/workday"
        ),
        "lsp-bills": Location("https://workday.staging.example.com/raas/lsp-bills", "rollcall/staging/workday"),
        "paid-client-bills": Location(
            "https://workday.staging.example.com/raas/paid-client-bills", "rollcall/staging/workday"
        ),
        "unpaid-client-bills": Location(
            "https://workday.staging.example.com/raas/unpaid-client-bills", "rollcall/staging/workday"
        ),
    },
    schedules_enabled=True,
    ceilings=Ceilings(workers=10, reserved=100),
    manifest_retention_days=30,
    log_retention=RetentionDays.ONE_MONTH,
    removal_policy=RemovalPolicy.DESTROY,
    tags={"application": "rollcall", "stage": "staging"},
)

PROD = Environment(
    name="prod",
    systems=("accounting", "donations", "transfers", "water"),
    targets={
        "accounting": Location("https://accounting.prod.example.com", "rollcall/prod/accounting"),
        "bank": Location("https://bank.prod.example.com", "rollcall/prod/bank"),
        "licensing": Location("https://licensing.prod.example.com", "rollcall/prod/licensing"),
        "payments": Location("https://payments.prod.example.com", "rollcall/prod/payments"),
    },
    buckets={"nald": "example-prod-nald", "transfer-archive": "example-prod-transfer-archive"},
    reports={
        "client-deposits": Location("https://workday.prod.example.com/raas/client-deposits", "rollcall/prod/workday"),
        "lsp-bills": Location("https://workday.prod.example.com/raas/lsp-bills", "rollcall/prod/workday"),
        "paid-client-bills": Location(
            "https://workday.prod.example.com/raas/paid-client-bills", "rollcall/prod/workday"
        ),
        "unpaid-client-bills": Location(
            "https://workday.prod.example.com/raas/unpaid-client-bills", "rollcall/prod/workday"
        ),
    },
    schedules_enabled=True,
    manifest_retention_days=90,
    log_retention=RetentionDays.THREE_MONTHS,
    removal_policy=RemovalPolicy.RETAIN,
    tags={"application": "rollcall", "stage": "prod"},
)

ENVIRONMENTS = {environment.name: environment for environment in (DEV, STAGING, PROD)}


def chosen(name: str | None) -> tuple[Environment, ...]:
    """The environment of that name; without a name, all. Raises DeclarationError for an unknown one."""
    if name is None:
        return tuple(ENVIRONMENTS.values())
    if name not in ENVIRONMENTS:
        raise DeclarationError(f"there is no environment {name!r}; there are: {', '.join(ENVIRONMENTS)}")
    return (ENVIRONMENTS[name],)
