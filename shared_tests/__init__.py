"""The proof that the four packages agree: definitions, adapters, comparisons, the parity report."""
