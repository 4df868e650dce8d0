"""How do the retrieval settings become better, from labelled questions and without a model?"""
