"""Tests of what a GPU does: pytest --backend=torch --device=cuda."""
