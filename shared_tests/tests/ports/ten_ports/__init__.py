"""Ten ports as their authors have them: five right ones, and five with a trap in them.

Each file holds an original in PyTorch, `original()`, its port, `port(original)`, which takes over
the weights of the original, and `inputs(generator)`. The ports are written as people write them,
by hand, one layer after another, with the framework's defaults where nobody thought of them.
"""
