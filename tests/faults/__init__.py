"""A fault run that anyone can repeat: nothing acknowledged is ever lost, doubled, reordered or changed."""
