"""What the budgets promise, measured: `python -m bench` lists the benchmarks, `python -m bench NAME` runs one."""
