"""From samples to rates."""
