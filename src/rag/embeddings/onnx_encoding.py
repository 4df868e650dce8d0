"""How is a network written down for onnxruntime without the onnx package?

Protocol-buffer messages of the ONNX format, as far as they are needed here: the field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# Operators of onnxruntime's own, fused or quantised.
FUSED = "com.microsoft"

_IR_VERSION, _OPERATORS, _FUSED_OPERATORS = 8, 17, 1
_FLOAT, _INT32 = 1, 6
_TYPES = {"float32": _FLOAT, "uint8": 2, "int8": 3, "int32": _INT32}


def tensor(name: str, values: Array) -> bytes:
    """TensorProto. Raises KeyError for other types than float32, uint8, int8 and int32."""
    dims = b"".join(_field(1, size) for size in values.shape)
    return dims + _field(2, _TYPES[values.dtype.name]) + _field(8, name) + _field(9, values.tobytes())


def node(operator: str, inputs: Iterable[str], outputs: Iterable[str], domain: str = "", **attributes: int) -> bytes:
    """NodeProto; attributes are whole numbers."""
    names = b"".join(_field(1, name) for name in inputs) + b"".join(_field(2, name) for name in outputs)
    given = b"".join(
        _field(5, _field(1, name) + _field(3, value) + _field(20, 2)) for name, value in attributes.items()
    )
    return names + _field(4, operator) + given + _field(7, domain)


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[str], output: str, dims: Sequence[str | int]
) -> bytes:
    """ModelProto with inputs of whole numbers (one text a row) and one output of floats of shape ``dims``."""
    graph = b"".join(_field(1, one) for one in nodes) + _field(2, "network") + b"".join(_field(5, c) for c in constants)
    graph += b"".join(_field(11, _value(name, _INT32, ("texts", "pieces"))) for name in inputs)
    graph += _field(12, _value(output, _FLOAT, dims))
    used = _field(8, _field(2, _OPERATORS)) + _field(8, _field(1, FUSED) + _field(2, _FUSED_OPERATORS))
    return _field(1, _IR_VERSION) + used + _field(7, graph)


def as_int8(weights: Array) -> tuple[Array, Array]:
    """Weights (outputs, inputs) in 8 bits and the scale of each output, symmetric."""
    scales = np.maximum(np.abs(weights).max(axis=1) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return np.rint(weights / scales[:, None]).astype(np.int8), scales


def _value(name: str, kind: int, dims: Sequence[str | int]) -> bytes:
    """ValueInfoProto; a named size may be any."""
    shape = b"".join(_field(1, _field(1 if isinstance(size, int) else 2, size)) for size in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
