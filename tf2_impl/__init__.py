"""Every component in TensorFlow 2 and Keras 3. Import from the component's module."""
