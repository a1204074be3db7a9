"""The watchdog: every minute, tops up windows, resumes and repairs runs, reports."""
