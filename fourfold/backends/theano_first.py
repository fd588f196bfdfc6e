"""The project's Theano package, imported before theano: it prepares what the first import needs."""

from __future__ import annotations

from fourfold.project import package_module

interchange = package_module("theano", "interchange")
