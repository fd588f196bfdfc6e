"""Every component in TensorFlow 2 and Keras 3. Import from the component's module."""

from importlib.util import find_spec

for _name, _title in (("tensorflow", "TensorFlow 2"), ("keras", "Keras 3")):
    if find_spec(_name) is None:
        raise ModuleNotFoundError(
            f'tf2_impl: expected {_title}, which is not installed: pip install "fourfold[tf2]"',
            name=_name,
        )
