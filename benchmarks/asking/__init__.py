"""What does it cost to ask: how long for one who asks, and what when many ask at once?"""
