"""Trains, judges, searches and extracts."""
