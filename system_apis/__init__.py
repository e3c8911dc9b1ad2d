"""The system layer: one folder for each domain, one inside it for each platform.

Records are canonical going in and coming out: no layer above sees anything of a platform.
"""
