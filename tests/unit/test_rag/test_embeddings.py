"""Is the local model the published one, whatever is put into it, and is it verified before it is used?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.errors import ConfigError, ContractViolation
from src.rag.configuration import EmbeddingSettings, load_rag_config
from src.rag.embeddings import minilm_files
from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.embeddings.minilm import MAX_PIECES, MiniLMEmbeddings
from src.rag.embeddings.minilm_files import TOKENIZER, WEIGHTS, PackagedFile
from src.rag.embeddings.selection import open_embeddings
from src.resilience.outcomes import Unavailable

PASSAGES = (
    "Rep calls increased new prescriptions of Kisqali in the northeast.",
    "Visits by sales representatives raised how often the drug was newly prescribed.",
    "The zebrafish embryo develops within three days.",
    "short",
)
LONG = " ".join(f"Sentence {n} says that growth in region {n} was {n} percent." for n in range(60))

pytestmark = pytest.mark.skipif(
    minilm_files.missing_packages() is not None, reason="needs the packages of the local embedding model"
)


@pytest.fixture(scope="module")
def minilm() -> MiniLMEmbeddings:
    return MiniLMEmbeddings(threads=1)


class Reference:
    """BERT written out in numpy on the official float weights (Devlin et al. 2019), mean pooled: the oracle."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        assert (tokenizer := TOKENIZER.find()) is not None
        content = (tokenizer.parent / "model.safetensors").read_bytes()
        size = int.from_bytes(content[:8], "little")
        self.weights: dict[str, Any] = {}
        for name, about in json.loads(content[8 : 8 + size]).items():
            if about.get("dtype") == "F32":
                start, end = (8 + size + at for at in about["data_offsets"])
                self.weights[name] = np.frombuffer(content[start:end], "<f4").reshape(about["shape"])
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_PIECES)

    def vector(self, text: str) -> Any:
        ids = self.tokenizer.encode(text).ids
        w = self.weights
        state = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        state = self.norm(state + w["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
        for layer in range(6):
            at = f"encoder.layer.{layer}."
            state = self.norm(state + self.attention(state, at), f"{at}attention.output.LayerNorm")
            inner = self.gelu(self.linear(state, f"{at}intermediate.dense"))
            state = self.norm(state + self.linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        mean = state.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def attention(self, state: Any, at: str) -> Any:
        names = (f"{at}attention.self.{name}" for name in ("query", "key", "value"))
        q, k, v = (self.linear(state, name).reshape(-1, 12, 32).transpose(1, 0, 2) for name in names)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(32)
        share = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (share / share.sum(axis=-1, keepdims=True)) @ v
        return self.linear(mixed.transpose(1, 0, 2).reshape(len(state), 384), f"{at}attention.output.dense")

    def linear(self, x: Any, name: str) -> Any:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: Any, name: str) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    @staticmethod
    def gelu(x: Any) -> Any:
        from scipy.special import erf

        return x * 0.5 * (1 + erf(x / np.sqrt(2)))


async def test_vectors_are_those_of_the_official_weights(minilm: MiniLMEmbeddings) -> None:
    reference = Reference()
    vectors = await minilm.embed(PASSAGES)
    expected = np.array([reference.vector(text) for text in PASSAGES])
    # Products in 8 bits cost up to a hundredth of the cosine; another layer or pooling would cost tenths.
    assert (vectors * expected).sum(axis=1).min() > 0.985
    assert np.abs(vectors @ vectors.T - expected @ expected.T).max() < 0.03
    assert vectors[0] @ vectors[1] > 0.4 > 0.2 > vectors[0] @ vectors[2]


async def test_vectors_have_unit_length_and_the_declared_size(minilm: MiniLMEmbeddings) -> None:
    vectors = await minilm.embed([*PASSAGES, LONG, "日本語", "🙂", "\u200b.", "x" * 5000])
    assert vectors.shape == (9, minilm.dims)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(9), abs=1e-5)


async def test_a_vector_does_not_depend_on_its_neighbours_in_the_batch(minilm: MiniLMEmbeddings) -> None:
    together = await minilm.embed([*PASSAGES, LONG])
    alone = np.concatenate([await minilm.embed([text]) for text in (*PASSAGES, LONG)])
    assert together == pytest.approx(alone, abs=1e-5)
    threaded = MiniLMEmbeddings(threads=2)
    assert await threaded.embed([*PASSAGES, LONG]) == pytest.approx(alone, abs=1e-5)


async def test_a_long_text_is_read_to_its_end(minilm: MiniLMEmbeddings) -> None:
    ends = await minilm.embed([LONG + " Zebrafish embryos grow.", LONG + " Rebates were paid."])
    assert ends[0] @ ends[1] < 0.9999
    (zebrafish,) = await minilm.embed(["zebrafish embryos"])
    assert zebrafish @ ends[0] > zebrafish @ ends[1]


async def test_no_text_gives_no_vector_and_an_empty_one_is_refused(minilm: MiniLMEmbeddings) -> None:
    assert (await minilm.embed([])).shape == (0, 384)
    with pytest.raises(ContractViolation, match="text 2 of 2 is empty"):
        await minilm.embed(["growth", " \n"])


def altered(file: PackagedFile) -> PackagedFile:
    return replace(file, sha256="0" * 64)


@pytest.mark.parametrize("files", [{"weights_file": altered(WEIGHTS)}, {"tokenizer_file": altered(TOKENIZER)}])
async def test_an_altered_file_is_refused_in_one_line_before_it_is_loaded(files: dict[str, PackagedFile]) -> None:
    with pytest.raises(ConfigError, match="is not the file of all-MiniLM-L6-v2") as refused:
        await MiniLMEmbeddings(**files).embed(["growth"])
    assert "\n" not in str(refused.value)
    assert "reinstall" in str(refused.value)


def test_the_packages_are_found_without_importing_them() -> None:
    import sys

    assert isinstance(WEIGHTS.find(), Path)
    assert isinstance(TOKENIZER.find(), Path)
    assert not {WEIGHTS.package, TOKENIZER.package} & set(sys.modules)


def settings(provider: str) -> EmbeddingSettings:
    return load_rag_config().embedding.model_copy(update={"provider": provider})


@pytest.mark.parametrize("provider", ["auto", "minilm"])
def test_the_local_model_is_used_where_it_is_installed(provider: str) -> None:
    opened = open_embeddings(settings(provider))
    assert isinstance(opened, MiniLMEmbeddings)
    assert (opened.model, opened.dims) == ("all-MiniLM-L6-v2", 384)


def test_none_says_that_it_is_switched_off() -> None:
    opened = open_embeddings(settings("none"))
    assert isinstance(opened, Unavailable)
    assert "embedding.provider is none" in opened.reason


def test_without_the_packages_auto_goes_on_without_a_model_and_minilm_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minilm_files, "RUNTIMES", ("onnxruntime_that_is_not_there",))
    opened = open_embeddings(settings("auto"))
    assert isinstance(opened, Unavailable)
    assert "onnxruntime_that_is_not_there" in opened.reason
    with pytest.raises(ConfigError, match="embedding.provider is minilm, but the local embedding model needs"):
        open_embeddings(settings("minilm"))


def test_openai_without_key_and_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="neither OPENAI_API_KEY nor OPENAI_BASE_URL"):
        open_embeddings(settings("openai"))


async def test_hashed_vectors_are_alike_as_far_as_words_are_shared() -> None:
    vectors = await HashedEmbeddings(256).embed(["rep calls", "calls by rep", "zebrafish"])
    assert vectors[0] @ vectors[1] > 0.7
    assert vectors[0] @ vectors[2] == pytest.approx(0)
