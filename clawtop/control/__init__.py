"""Stop, pause, resume: what acts on agents, what it writes down before it acts, and the log of what it did."""
