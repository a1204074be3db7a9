"""The Lambda functions, one folder each; users add their jobs to `jobs`."""
