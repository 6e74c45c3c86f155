"""What only another module of the project imports."""


def said(context):
    return f"far from {context.get('nightly.near')}"
