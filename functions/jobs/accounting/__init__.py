"""Jobs that send Workday's reports, line by line, to the accounting service."""
