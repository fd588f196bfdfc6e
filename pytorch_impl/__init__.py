"""Every component in PyTorch. Import from the component's module."""
