"""Whole programs on real input, one folder each: `python -m examples.stems`."""
