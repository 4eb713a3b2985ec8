"""The circuit as a Brian2 network: stations, connections, steady state, recording."""
