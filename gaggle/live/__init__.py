"""The screen while a test runs, on a terminal: users, rate, times, failures, workers. Drawn once a second; q stops."""
