"""Which of several effect functions fits the data best, judged on data it was not fitted to?"""
