"""A cloud of processes on this machine: MiniStack behind one adapter, functions in processes, AWS's polling rules."""
