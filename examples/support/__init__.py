"""What all programs share and no lesson is in: the command line, progress, tables and plots."""
