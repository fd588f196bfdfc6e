"""PyTorch's own tests."""
