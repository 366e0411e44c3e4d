"""The training benchmark: problems, candidates, one warm process for each, rounds, tables, a picture."""
