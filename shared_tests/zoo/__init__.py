"""Whole networks of other people's collections, sent from one framework to the others.

`nox -s zoo` runs it: one process saves what a framework builds, others load it and compare.
"""
