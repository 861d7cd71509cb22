"""Boards far away: networks are sent there, timed there, and their numbers come back."""
