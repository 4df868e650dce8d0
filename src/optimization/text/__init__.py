"""May this text take the place of the prompt in use?"""
