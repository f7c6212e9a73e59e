"""`make bench-stall`: do calls whose certificate is at hand notice those that wait for a repository that never answers?"""
