"""Tests of model files in a browser, held to NumPy."""
