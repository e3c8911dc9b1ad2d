"""A bar chart as SVG, for the documentation."""

from __future__ import annotations

from html import escape

WIDTH, BAR, LEFT = 720, 26, 210


def bars(title: str, values: dict[str, float]) -> str:
    """One bar for each value, with its figure."""
    most = max(values.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {50 + BAR * len(values)}" font-family="system-ui,sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="12" y="24" font-size="15" font-weight="600" fill="#1b2430">{escape(title)}</text>',
    ]  # fmt: skip
    for place, (name, value) in enumerate(values.items()):
        y = 42 + place * BAR
        length = max(2.0, (WIDTH - LEFT - 90) * value / most)
        colour = "#0b5cad" if name.startswith("Tiergate") else "#a9b4c2"
        lines.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end" fill="#1b2430">{escape(name)}</text>')
        lines.append(f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 8}" rx="3" fill="{colour}"/>')
        lines.append(f'<text x="{LEFT + length + 6:.0f}" y="{y + 14}" fill="#1b2430">{value:,.0f}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
