"""The accounting service and the reports that its jobs read."""

from datetime import timedelta

from rollcall import Report, Target

#: Its jobs share these calls in flight: 50 for the deposits, 10 for each of the others, and room for two more.
ACCOUNTING = Target("accounting", concurrency=100, timeout=timedelta(seconds=10))

CLIENT_DEPOSITS = Report("client-deposits")
LSP_BILLS = Report("lsp-bills")
PAID_CLIENT_BILLS = Report("paid-client-bills")
UNPAID_CLIENT_BILLS = Report("unpaid-client-bills")
