"""The worker: from received messages to calls of the target, and to what is settled of them."""
