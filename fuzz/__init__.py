"""Harnesses for a fuzzer: each has a ``check`` that takes any bytes, and raises if anysse is at fault.

None of them knows the fuzzer. ``corpus`` has what it found worth keeping, and tests/test_fuzz.py checks that.
"""
