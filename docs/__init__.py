"""The guides, what is written about each component, and the generator of the book."""
