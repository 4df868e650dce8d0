"""The judge of the tests, which is that of the demonstration too."""

from src.scripted_servers.lexical_judge import EVASIVE, Document, input_of, lexical_judge, sentences, supported, words

__all__ = ["EVASIVE", "Document", "input_of", "lexical_judge", "sentences", "supported", "words"]
