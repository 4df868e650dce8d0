"""How are texts embedded on this machine, without a server?

all-MiniLM-L6-v2: mean of the last layer over the word pieces, then unit length, as its authors use it
(Reimers & Gurevych 2019, https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.errors import ContractViolation
from src.rag.embeddings.minilm_files import TOKENIZER, WEIGHTS, PackagedFile
from src.rag.embeddings.minilm_network import INPUTS, build_network, read_weights
from src.rag.embeddings.provider import Vectors

MAX_PIECES = 256

Pieces = list[int]


@dataclass(frozen=True, slots=True)
class _Window:
    """Word pieces that fit the model, and the text they belong to."""

    text: int
    pieces: Pieces


class MiniLMEmbeddings:
    """``EmbeddingProvider`` over the local model, loaded and verified on first use.

    A text of more than 256 word pieces is cut into windows; its vector is their mean, weighted by length.
    ``threads`` windows are computed at once, each in a run of its own: nothing is padded, a run stays in the
    processor's cache, and a vector depends on its own text only.
    """

    model = "all-MiniLM-L6-v2"
    dims = 384

    def __init__(
        self, *, threads: int = 1, weights_file: PackagedFile = WEIGHTS, tokenizer_file: PackagedFile = TOKENIZER
    ) -> None:
        self._threads = threads
        self._files = (weights_file, tokenizer_file)
        self._loading = threading.Lock()
        self._loaded: _Network | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, one a text. Raises ContractViolation for an empty text, ConfigError for altered files."""
        for at, text in enumerate(texts):
            if not text.strip():
                raise ContractViolation(f"text {at + 1} of {len(texts)} is empty: there is nothing to embed")
        if not texts:
            return np.empty((0, self.dims), dtype=np.float32)
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> Vectors:
        network = self._network()
        # The longest first, so that at the end no thread is left alone with a long one.
        windows = sorted(
            _windows(network.pieces(texts), network.first, network.last), key=lambda one: len(one.pieces), reverse=True
        )
        sums = np.zeros((len(texts), self.dims), dtype=np.float64)
        with ThreadPoolExecutor(self._threads) as pool:
            for window, vector in zip(windows, pool.map(network.run, windows), strict=True):
                sums[window.text] += len(window.pieces) * vector
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)

    def _network(self) -> _Network:
        with self._loading:
            if self._loaded is None:
                weights, tokenizer = self._files
                self._loaded = _Network(weights.read(), tokenizer.read())
            return self._loaded


class _Network:
    """The tokenizer and the network, ready to run; safe across threads."""

    def __init__(self, weights: bytes, tokenizer: bytes) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        # The file asks for 128 pieces, padded; windows are ours to cut.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.first, self.last = self._tokenizer.encode("").ids
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        network = build_network(read_weights(weights))
        self._session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def pieces(self, texts: list[str]) -> list[Pieces]:
        """Word pieces of each text, without the marks of beginning and end."""
        return [list(found.ids) for found in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def run(self, window: _Window) -> NDArray[np.float64]:
        """A unit vector for a window."""
        pieces = np.array([window.pieces], dtype=np.int32)
        (state,) = self._session.run(None, dict(zip(INPUTS, (pieces, np.zeros_like(pieces)), strict=True)))
        pooled = state[0].mean(axis=0, dtype=np.float64)
        return np.asarray(pooled / np.linalg.norm(pooled))


def _windows(texts: list[Pieces], first: int, last: int) -> Iterator[_Window]:
    room = MAX_PIECES - 2
    for number, pieces in enumerate(texts):
        # A text of nothing the tokenizer knows still has its two marks.
        for at in range(0, max(len(pieces), 1), room):
            yield _Window(number, [first, *pieces[at : at + room], last])
