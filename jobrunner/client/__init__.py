"""How other programs, and the command line, reach the queue: over REST, or straight at the database. Never SQL."""
