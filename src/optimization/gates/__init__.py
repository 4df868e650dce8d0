"""Is a change better, and sure enough to be made?"""
