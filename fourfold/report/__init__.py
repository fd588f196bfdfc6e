"""The parity report: every backend in its own environment, every pair of them compared."""
