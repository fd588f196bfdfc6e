"""The tests: of all backends, of one each, and of the project."""
