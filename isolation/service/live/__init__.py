"""What happens, told as it does: changes of the context and finished dumps, over socket.io."""
