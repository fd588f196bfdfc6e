"""Each property once, over every component and backend."""
