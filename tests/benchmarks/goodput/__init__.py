"""Goodput: one training to its end while its machine is lost again and again, each time with everything on its disk."""
