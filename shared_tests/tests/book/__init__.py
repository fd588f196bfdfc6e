"""Tests of the book's pages in a browser."""
