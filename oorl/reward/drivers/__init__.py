"""What stands between the judge and a program: one driver per language, and the code that generates the typed ones."""
