"""What does each part of a report say?"""
