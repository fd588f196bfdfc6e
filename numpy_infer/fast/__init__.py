"""Faster ways of computing a component, each named after it."""
