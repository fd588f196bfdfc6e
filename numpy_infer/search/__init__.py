"""What nearest-neighbor search is made of: distances, graphs, their files."""
