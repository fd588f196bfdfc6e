"""Short texts to classes by their characters: what a line about a film says."""
