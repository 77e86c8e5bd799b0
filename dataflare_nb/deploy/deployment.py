"""A bundle that has been written: its files, its graph with parallelism, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..graph import Graph
from ..runtime.plan import plan
from . import support
from .bundle import Bundle
from .layout import describe
from .target import Flink


@dataclass(frozen=True, slots=True)
class Deployment:
    """What `Stream.deploy` returns. As the last line of a cell it shows itself."""

    bundle: Bundle
    graph: Graph
    target: Flink
    folder: Path

    @property
    def name(self) -> str:
        """The job's name on the cluster."""
        return self.bundle.name

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files, in the folder."""
        return tuple(self.bundle.files)

    @property
    def parallelism(self) -> dict[str, int]:
        """In how many instances each stage runs."""
        return dict(describe(self.graph, plan(self.graph), self.target))

    @property
    def notes(self) -> list[str]:
        """What the cluster must have, and what stays as it is."""
        return support.notes(self.graph)

    @property
    def commands(self) -> list[str]:
        """What to run next, in a shell."""
        lines = self.bundle.files["README.md"].decode().splitlines()
        return [f"cd {self.folder}", *(line.strip() for line in lines if line.startswith("    "))]

    def _stages(self) -> list[tuple[str, str, int]]:
        labels = {stage.id: stage.label for stage in plan(self.graph).stages}
        return [(stage, labels[stage], times) for stage, times in self.parallelism.items()]

    def __repr__(self) -> str:
        stages = [f"  {times:>5} x  {label}" for _, label, times in self._stages()]
        notes = [f"  * {note}" for note in self.notes]
        return "\n".join(
            [
                f"Deployment {self.name}: {len(self.files)} files in {self.folder}, sha256 {self.bundle.sha256[:12]}",
                *stages,
                *notes,
                "next:",
                *(f"  {command}" for command in self.commands),
            ]
        )

    def _repr_html_(self) -> str:
        stages = "".join(
            f"<tr><td>{escape(stage)}</td><td>{escape(label)}</td><td style='text-align:right'>{times}</td></tr>"
            for stage, label, times in self._stages()
        )
        files = "".join(
            f"<tr><td><code>{escape(path)}</code></td><td style='text-align:right'>{len(content):,}</td></tr>"
            for path, content in self.bundle.files.items()
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<div><b>{escape(self.name)}</b> in <code>{escape(str(self.folder))}</code>, "
            f"sha256 <code>{self.bundle.sha256[:12]}</code>"
            f"{_table(('stage', 'does', 'instances'), stages)}"
            f"<details><summary>{len(self.files)} files</summary>{_table(('file', 'bytes'), files)}</details>"
            f"{f'<ul>{notes}</ul>' if notes else ''}<pre>{escape(chr(10).join(self.commands))}</pre></div>"
        )


def _table(titles: tuple[str, ...], rows: str) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
