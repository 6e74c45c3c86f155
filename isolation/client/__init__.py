"""What asks a server: the questions, how they are sent, and the clients of the context in both colours."""
