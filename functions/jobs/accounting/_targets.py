"""The accounting service and the reports that its jobs read."""

from datetime import timedelta

from rollcall import Rate, Report, Target

#: Its jobs share these calls in flight: 50 for the deposits, 10 for each of the others, and room for two more. Its own
#: limit is not known: it starts at 20 calls a second, and each environment may say otherwise.
ACCOUNTING = Target("accounting", concurrency=100, timeout=timedelta(seconds=10), rate=Rate.per_second(20, burst=20))

CLIENT_DEPOSITS = Report("client-deposits")
LSP_BILLS = Report("lsp-bills")
PAID_CLIENT_BILLS = Report("paid-client-bills")
UNPAID_CLIENT_BILLS = Report("unpaid-client-bills")
