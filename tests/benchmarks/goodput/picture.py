"""A picture of it, as text: what each contestant did at any time, from left to right."""

from xml.sax.saxutils import escape

from .account import USES, Account


_COLORS = {
    "imports": "#b8bec7",
    "setup": "#8f98a5",
    "pull": "#f2a93b",
    "load": "#f7d08a",
    "kept": "#3f9b5a",
    "lost": "#d9534f",
    "failed": "#6b2737",
}
_LEGEND = {
    "imports": "imports",
    "setup": "model and Trainer",
    "pull": "checkpoint comes, is verified",
    "load": "is loaded",
    "kept": "training",
    "lost": "training that was lost",
    "failed": "start that failed",
}
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _BAR = 980, 220, 180, 64, 34, 20


def svg(accounts: dict[str, Account]) -> str:
    """
    A row of bars for each contestant.

    Args:
        accounts (`dict[str, Account]`):
            By label; the first one is the training that nobody interrupted.

    Returns:
        `str`: An SVG document.
    """
    uninterrupted = next(iter(accounts.values())).seconds
    scale = (_WIDTH - _LEFT - _RIGHT) / max(account.seconds for account in accounts.values())
    height = _TOP + _ROW * len(accounts) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(
            12, 22, "One training, its machine lost at the same moments for all (✕), each time with its disk", "bold"
        ),
        *_legend([use for use in USES if any(account.total(use) for account in accounts.values())]),
    ]
    for number, (label, account) in enumerate(accounts.items()):
        parts += _row(label, account, _TOP + number * _ROW, scale, uninterrupted)
    x = _LEFT + uninterrupted * scale
    bottom = _TOP + _ROW * len(accounts)
    parts += [
        f'<line x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{bottom}" stroke="#555" stroke-dasharray="3 3"/>',
        _text(_LEFT, bottom + 16, "0 s"),
        _text(x - 16, bottom + 16, f"{uninterrupted:.0f} s"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(label: str, account: Account, y: int, scale: float, uninterrupted: float) -> list[str]:
    parts = [_text(12, y + 15, label)]
    for stretch in account.stretches():
        parts.append(
            f'<rect x="{_LEFT + stretch.start * scale:.1f}" y="{y}" width="{stretch.seconds * scale:.1f}" '
            f'height="{_BAR}" fill="{_COLORS[stretch.use]}"/>'
        )
    for moment in account.losses:
        parts.append(_text(_LEFT + moment * scale - 5, y + 15, "✕", "bold"))
    told = f"{account.seconds / uninterrupted:.2f} times"
    if account.losses:
        told += f", {account.steps_lost} steps lost"
    return [*parts, _text(_LEFT + account.seconds * scale + 8, y + 15, told)]


def _legend(uses: list[str]) -> list[str]:
    parts, x = [], 12.0
    for use in uses:
        parts += [
            f'<rect x="{x:.0f}" y="36" width="12" height="12" fill="{_COLORS[use]}"/>',
            _text(x + 17, 47, _LEGEND[use]),
        ]
        x += 34 + 7 * len(_LEGEND[use])
    return parts


def _text(x: float, y: float, words: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}" fill="#222">{escape(words)}</text>'
