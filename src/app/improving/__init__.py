"""How do scored answers make the next ones better? Wiring, replays and the schedule of the improvement loop."""
