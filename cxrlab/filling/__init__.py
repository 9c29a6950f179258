"""What does the grid still lack, what would it take, and how is it set going?"""
