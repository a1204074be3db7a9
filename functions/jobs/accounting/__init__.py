"""Report-as-a-service crons: Workday's reports, told entry by entry to the accounting service."""
