"""Titles of one kind close to each other: sums of word vectors, trained leave-one-out."""
