"""The command line: `main` has the app, and each other module one command."""
