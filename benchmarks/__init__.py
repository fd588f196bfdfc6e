"""Speed and memory against peers and against the floor.

gradient_flow and sanity_checks are left out: they do no work of their own worth timing.
"""
