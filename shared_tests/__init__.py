"""What is proven here: definitions, tests, golden files, trainings. Importing it registers it."""

from fourfold.project import register
from shared_tests.repository import PROJECT

register(PROJECT)
