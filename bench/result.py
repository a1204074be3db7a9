"""What a benchmark found, as a short table for people and as one line of JSON."""

import json
import os
import platform
from dataclasses import dataclass, field
from typing import Any


def load() -> float | None:
    """Processes that wanted a core in the last minute; above the number of cores, seconds say little."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


@dataclass
class Result:
    """The end of a benchmark."""

    name: str
    #: What was found: label and figure.
    rows: list[tuple[str, str]] = field(default_factory=list)
    #: The same for programs.
    fields: dict[str, Any] = field(default_factory=dict)
    load_before: float | None = field(default_factory=load)

    def add(self, label: str, value: object, unit: str = "", **fields: Any) -> None:
        """Add a row, and fields for programs."""
        shown = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        self.rows.append((label, f"{shown} {unit}".rstrip()))
        self.fields.update(fields)

    def judge(self, label: str, value: float, budget: float, unit: str = "", **fields: Any) -> None:
        """Add the figure that a budget is about."""
        kept = value <= budget
        self.add(f"{label} (budget {budget:,.4g}{f' {unit}' if unit else ''})", float(value), unit, **fields)
        self.rows.append(("", "within the budget" if kept else "OVER the budget"))
        self.fields["budgets"] = self.fields.get("budgets", {}) | {
            label: {"value": round(value, 4), "budget": budget, "kept": kept}
        }

    def claim(self, label: str, holds: bool) -> None:
        """Add what has to hold on any machine."""
        self.rows.append((label, "holds" if holds else "BROKEN"))
        self.fields["claims"] = self.fields.get("claims", {}) | {label: holds}

    @property
    def broken(self) -> list[str]:
        """The claims that do not hold."""
        claims: dict[str, bool] = self.fields.get("claims", {})
        return [label for label, holds in claims.items() if not holds]

    def show(self) -> None:
        """Print the table, then the line."""
        loads = [self.load_before, load()]
        machine = {"cores": os.cpu_count(), "load": loads, "python": platform.python_version()}
        width = max((len(label) for label, _ in self.rows), default=0)
        print(f"{self.name} (load {loads[0]} before, {loads[1]} after, {os.cpu_count()} cores)")
        for label, shown in self.rows:
            print(f"  {label:<{width}}  {shown}")
        print(json.dumps({"benchmark": self.name, **self.fields, "machine": machine}), flush=True)
