"""What does each step of feedback_learner do?"""
