"""TensorFlow's own tests."""
