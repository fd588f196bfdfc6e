"""What components and model files are built from: one home for each layer."""
