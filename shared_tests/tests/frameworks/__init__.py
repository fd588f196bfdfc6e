"""Each property of what is trained, once, over the three frameworks."""
