"""Tests of the project itself: they need no framework."""
