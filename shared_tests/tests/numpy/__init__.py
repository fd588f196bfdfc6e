"""NumPy's own tests."""
