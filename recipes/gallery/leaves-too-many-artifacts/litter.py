def litter(context, params):
    for number in range(10):
        context.artifact(f"leaf-{number}.txt").write_text("a leaf\n")
