"""How somebody's function, method or object is called: what it takes, what it gives, what it prints."""
