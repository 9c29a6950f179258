"""Which code does a run execute, and is it still that?"""
