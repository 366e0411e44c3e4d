"""`mlp lecture --html`: the steps as pages, each one file, with the networks of four of them to click on.

`pages` makes them of what the steps say (`lecture.page`); `networks` are those that are taken apart.
"""
