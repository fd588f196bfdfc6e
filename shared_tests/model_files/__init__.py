"""Model files for the tests: samples, random and loaded chains, and a fuzzer that damages files."""
