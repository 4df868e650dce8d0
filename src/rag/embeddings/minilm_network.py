"""Which computation turns word pieces into the last layer of all-MiniLM-L6-v2?

BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) with six layers and twelve heads. The products of weights
are computed in 8 bits: weights with a scale per output, inputs with a scale per text (onnxruntime's
MatMulIntegerToFloat); everything between them in floats. A run takes one text, so that its vector depends on nothing
else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from src.rag.embeddings.onnx_encoding import FUSED, Array, as_int8, model, node, tensor

LAYERS, HEADS, DIMS = 6, 12, 384
INPUTS = ("pieces", "kinds")
OUTPUT = "state_6"


def read_weights(content: bytes) -> dict[str, Array]:
    """The float tensors of a safetensors file by name (https://huggingface.co/docs/safetensors)."""
    size = int.from_bytes(content[:8], "little")
    return {
        name: np.frombuffer(content, "<f4", int(np.prod(about["shape"])), 8 + size + about["data_offsets"][0]).reshape(
            about["shape"]
        )
        for name, about in json.loads(content[8 : 8 + size]).items()
        if about.get("dtype") == "F32"
    }


def build_network(weights: Mapping[str, Array]) -> bytes:
    """The network as an ONNX model: word pieces and zeros (1, pieces) in, the last layer (1, pieces, 384) out."""
    return _Builder(weights).build()


class _Builder:
    """Collects the nodes and constants of the graph."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def build(self) -> bytes:
        at = "embeddings."
        names = (f"{at}{kind}_embeddings.weight" for kind in ("word", "position", "token_type"))
        looked_up = [*(self._constant(name) for name in names), *self._scale_and_shift(f"{at}LayerNorm")]
        self._add("EmbedLayerNormalization", [*INPUTS, *looked_up], ["state_0", "unused"])
        for layer in range(LAYERS):
            self._layer(f"encoder.layer.{layer}.", f"state_{layer}", f"state_{layer + 1}")
        return model(self._nodes, self._constants, INPUTS, OUTPUT, (1, "pieces", DIMS))

    def _layer(self, at: str, state: str, out: str) -> None:
        parts = [f"{at}attention.self.{name}" for name in ("query", "key", "value")]
        self._products(state, parts)
        biases = self._new(f"{at}biases", np.concatenate([self._weights[f"{part}.bias"] for part in parts]))
        self._add("MultiHeadAttention", [*parts, biases], [f"{at}mixed"], num_heads=HEADS)
        attended, inner, outer = f"{at}attention.output.dense", f"{at}intermediate.dense", f"{at}output.dense"
        self._products(f"{at}mixed", [attended])
        self._normalised(attended, state, f"{at}attention.output.LayerNorm")
        self._products(f"{at}attention.output.LayerNorm", [inner])
        self._add("BiasGelu", [inner, self._constant(f"{inner}.bias")], [f"{at}active"])
        self._products(f"{at}active", [outer])
        self._normalised(outer, f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm", out)

    def _products(self, state: str, parts: Sequence[str]) -> None:
        """``state`` by the weights of each part, without its bias; it is brought to 8 bits once."""
        small, scale, zero = (f"{parts[0]}.{name}" for name in ("input", "input_scale", "input_zero"))
        self._nodes.append(node("DynamicQuantizeLinear", [state], [small, scale, zero]))
        for part in parts:
            rounded, scales = as_int8(self._weights[f"{part}.weight"])
            by = [self._new(f"{part}.int8", rounded.T), scale, self._new(f"{part}.scales", scales), zero]
            zeros = self._new(f"{part}.zeros", np.zeros(len(scales), dtype=np.int8))
            self._add("MatMulIntegerToFloat", [small, *by, zeros], [part])

    def _normalised(self, part: str, skipped: str, norm: str, out: str | None = None) -> None:
        given = [part, skipped, *self._scale_and_shift(norm), self._constant(f"{part}.bias")]
        self._add("SkipLayerNormalization", given, [out or norm])

    def _scale_and_shift(self, norm: str) -> tuple[str, str]:
        return self._constant(f"{norm}.weight"), self._constant(f"{norm}.bias")

    def _constant(self, name: str) -> str:
        return self._new(name, self._weights[name])

    def _new(self, name: str, values: Array) -> str:
        self._constants.append(tensor(name, values))
        return name

    def _add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int) -> None:
        self._nodes.append(node(operator, inputs, outputs, FUSED, **attributes))
