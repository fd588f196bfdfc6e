"""Theano's own tests."""
