"""`mlp explain --html`: one page that draws the network and takes any of its gradients apart on a click.

`scene` reads the traces into one table of numbers, `epochs` gets the weights of a run's epochs, `document`
puts the table, page.html, page.css and the scripts into one file. The page shows numbers and computes none.
"""
