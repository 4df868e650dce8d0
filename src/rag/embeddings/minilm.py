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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.errors import ContractViolation
from src.rag.embeddings.minilm_files import MODEL, TOKENIZER, PackagedFile
from src.rag.embeddings.provider import Vectors

MAX_PIECES = 256
# Pieces of one model run: more than about a thousand fall out of the processor's cache and cost a quarter more.
PIECES_AT_ONCE = 1024

Pieces = list[int]


@dataclass(frozen=True, slots=True)
class _Window:
    """Word pieces that fit the model, and the text they belong to."""

    text: int
    pieces: Pieces


class MiniLMEmbeddings:
    """``EmbeddingProvider`` over the local model, loaded and verified on first use.

    A text of more than 256 word pieces is cut into windows; its vector is their mean, weighted by length.
    ``threads`` runs go on at once, each of at most ``batch_size`` windows of similar length.
    """

    model = "all-MiniLM-L6-v2"
    dims = 384

    def __init__(
        self,
        *,
        batch_size: int = 32,
        threads: int = 1,
        model_file: PackagedFile = MODEL,
        tokenizer_file: PackagedFile = TOKENIZER,
    ) -> None:
        self._batch_size = batch_size
        self._threads = threads
        self._files = (model_file, tokenizer_file)
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
        windows = list(_windows(network.pieces(texts), network.first, network.last))
        batches = list(_batches(windows, self._batch_size))
        sums = np.zeros((len(texts), self.dims), dtype=np.float64)
        with ThreadPoolExecutor(self._threads) as pool:
            for batch, vectors in zip(batches, pool.map(network.run, batches), strict=True):
                for window, vector in zip(batch, vectors, strict=True):
                    sums[window.text] += len(window.pieces) * vector
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)

    def _network(self) -> _Network:
        with self._loading:
            if self._loaded is None:
                model, tokenizer = self._files
                self._loaded = _Network(model.read(), tokenizer.read())
            return self._loaded


class _Network:
    """The tokenizer and the network, ready to run; safe across threads."""

    def __init__(self, model: bytes, tokenizer: bytes) -> None:
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
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def pieces(self, texts: list[str]) -> list[Pieces]:
        """Word pieces of each text, without the marks of beginning and end."""
        return [list(found.ids) for found in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def run(self, batch: list[_Window]) -> NDArray[np.float64]:
        """A unit vector for each window."""
        longest = max(len(window.pieces) for window in batch)
        ids = np.zeros((len(batch), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(batch):
            ids[row, : len(window.pieces)] = window.pieces
            mask[row, : len(window.pieces)] = 1
        asked: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(None, asked)
        pooled = np.einsum("wpd,wp->wd", hidden, mask, dtype=np.float64) / mask.sum(axis=1, keepdims=True)
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))


def _windows(texts: list[Pieces], first: int, last: int) -> Iterator[_Window]:
    room = MAX_PIECES - 2
    for number, pieces in enumerate(texts):
        # A text of nothing the tokenizer knows still has its two marks.
        for at in range(0, max(len(pieces), 1), room):
            yield _Window(number, [first, *pieces[at : at + room], last])


def _batches(windows: list[_Window], most: int) -> Iterator[list[_Window]]:
    """Windows of similar length together, so that little is padded; the longest first."""
    batch: list[_Window] = []
    for window in sorted(windows, key=lambda window: len(window.pieces), reverse=True):
        full = len(batch) >= min(most, max(PIECES_AT_ONCE // len(batch[0].pieces), 1)) if batch else False
        if full:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
