"""How is long work shown while somebody waits for it?"""
