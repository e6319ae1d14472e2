"""`kache monitor`: what happens now and what happened, on a terminal that is drawn on. Textual lives here alone."""
