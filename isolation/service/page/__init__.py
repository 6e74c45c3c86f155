"""The page: what people look at in a browser, made on the server; it reads the same core as the routes."""
