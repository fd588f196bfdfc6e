"""Tests that need no framework: layout, signatures, definitions, the report."""
