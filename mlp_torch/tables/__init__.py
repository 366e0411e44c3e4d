"""Anybody's table: read, understood, turned into arrays. Nothing here knows of networks or imports torch."""
