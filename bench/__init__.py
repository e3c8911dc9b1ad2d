"""Measures ratios within one run; absolute figures are not stable between machines."""
