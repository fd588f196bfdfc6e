"""Tests of the tool for other people's ports, in an environment with several frameworks."""
