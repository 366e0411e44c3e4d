"""The author's file in a process of its own: it hands over values, and the verdict is made here from them."""
