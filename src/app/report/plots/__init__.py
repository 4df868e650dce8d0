"""Which pictures does a report hold?"""
