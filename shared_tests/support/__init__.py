"""What several tests, tools or definitions use; what fourfold needs of it is registered by name."""
