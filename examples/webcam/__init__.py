"""Webcam: an image classifier that was trained in PyTorch looks through a camera, in a browser."""
