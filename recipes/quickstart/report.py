"""Writes what the context holds as a table that people can read."""


def write_report(context, params):
    lines = [f"# {params['title']}", "", "| city | mean | lowest | highest |", "| --- | ---: | ---: | ---: |"]
    for city, found in context.get("weather.summary").items():
        lines.append(f"| {city} | {found['mean']:.1f} | {found['lowest']:.1f} | {found['highest']:.1f} |")
    report = context.artifact("report.md")  # whatever is written below this path is kept with the run
    report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {report.name}")
