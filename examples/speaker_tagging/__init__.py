"""A voice found in a sound track: an encoder of two seconds of sound, and a memory of the voice."""
