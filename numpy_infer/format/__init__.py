"""Model files: the vocabulary of layers, and how a file is read, checked and written."""
