"""Weights from elsewhere and back: plain arrays in any gate order, Keras, and ONNX files."""

from gatework.convert.arrays import from_arrays, to_arrays
from gatework.convert.given import Weights
from gatework.convert.keras import from_keras, to_keras
from gatework.convert.onnx_file import onnx

__all__ = ["Weights", "from_arrays", "from_keras", "onnx", "to_arrays", "to_keras"]
