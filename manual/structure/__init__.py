"""What a network is made of, and the record of its passes: the bookkeeping of both engines."""
