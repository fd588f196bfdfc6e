"""What this repository runs by hand in each framework: operations that are tools, and trainings."""
