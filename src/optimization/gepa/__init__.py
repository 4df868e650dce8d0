"""How are prompts improved by GEPA on what a component really says?"""
