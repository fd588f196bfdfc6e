"""The tests of a component that see an edit of it, and the edits that no test can see."""
