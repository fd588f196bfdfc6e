"""A taxonomy from coarse to fine: family, branch and language of a few words."""
