"""Proves that implementations of one component agree: definitions, comparison, adapters, report."""
