"""Which design and which estimators answer, why, and what was not taken?"""
