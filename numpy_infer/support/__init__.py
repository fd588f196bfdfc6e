"""What the other files share: checks, ties, starting values, precision."""
