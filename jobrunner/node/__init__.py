"""What one worker process is: it claims, executes and settles, and says how it fares."""
