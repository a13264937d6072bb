"""What work costs: at which pace, in how much memory, on how many workers."""
