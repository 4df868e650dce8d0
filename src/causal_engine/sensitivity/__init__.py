"""How strong must something unmeasured be to explain an estimate away?"""
