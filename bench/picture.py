"""A bar chart as SVG, for the documentation."""

from __future__ import annotations

from html import escape

WIDTH, BAR, LEFT = 720, 26, 210


def bars(title: str, values: dict[str, float]) -> str:
    """Return a chart with one bar for each value, and its figure."""
    most = max(values.values())
    size = f"0 0 {WIDTH} {50 + BAR * len(values)}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="system-ui,sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="600" fill="#1b2430">{escape(title)}</text>',
    ]
    for index, (name, value) in enumerate(values.items()):
        y = 42 + index * BAR
        length = max(2.0, (WIDTH - LEFT - 90) * value / most)
        colour = "#0b5cad" if name.startswith("Tiergate") else "#a9b4c2"
        lines.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end" fill="#1b2430">{escape(name)}</text>')
        lines.append(f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 8}" rx="3" fill="{colour}"/>')
        lines.append(f'<text x="{LEFT + length + 6:.0f}" y="{y + 14}" fill="#1b2430">{value:,.0f}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
