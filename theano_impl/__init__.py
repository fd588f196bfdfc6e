"""Every component in Theano-PyMC. Import from the component's module."""

from theano_impl.support import setup  # noqa: F401  (must run before the first `import theano`)
