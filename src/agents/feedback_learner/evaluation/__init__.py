"""How good was an answer, judged by the rubric?"""
