"""Words of one stem close to each other: an encoder that reads words from right to left."""
