"""results.json as Markdown tables: one a part, and the parts' times and errors."""


def number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).replace("\n", " ").replace("|", "\\|")[-300:]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def section(name, part):
    rows = {key: value for key, value in part["results"].items() if isinstance(value, dict)}
    single = {key: value for key, value in part["results"].items() if key not in rows}
    lines = [f"## {name}", ""]
    if part["error"]:
        lines += ["```", part["error"].strip()[-1200:], "```", ""]
    if single:
        lines += [", ".join(f"{key} {number(value)}" for key, value in single.items()), ""]
    if rows:
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        lines += ["|  | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        lines += ["| " + name + " | " + " | ".join(number(row[key]) if key in row else "" for key in columns) + " |"
                  for name, row in rows.items()]
        lines.append("")
    return lines


def markdown(results):
    lines = ["# rft on a GPU", "", "| part | seconds | |", "|---|---|---|"]
    for name, part in results.items():
        last = part["error"].strip().splitlines()[-1][:200] if part["error"] else "ok"
        lines.append(f"| {name} | {part['seconds']:.1f} | {number(last)} |")
    lines.append("")
    for name, part in results.items():
        lines += section(name, part)
    return "\n".join(lines)
