"""The only importers of boto3 and of HTTP clients; each turns a service's answers into words of the core."""
