"""What somebody likes, told by the nearest liked and disliked items: triplets within topics."""
