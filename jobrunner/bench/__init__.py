"""Measuring jobrunner beside bare loops of the same statements, in the same rounds: every figure is a ratio.

Absolute figures of a shared machine drift by a factor of two; what two sides do in turn within one minute can be
compared. Bare SQL stands in this package only: it is the yardstick, and must owe nothing to what it measures.
"""
