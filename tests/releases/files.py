"""The folder of a release's recording: written by `record`, read by every later version."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollcall.core.run import from_iso, iso
from tests.releases.clouds import Snapshot

FIXTURES = Path(__file__).parents[1] / "fixtures"
#: The two moments of a story.
MIDWAY, END = "midway", "end"


@dataclass(frozen=True, slots=True)
class Release:
    """One recorded release."""

    folder: Path

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def stories(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "stories").iterdir())

    def story(self, name: str, moment: str) -> "Moment":
        return Moment(self.folder / "stories" / name / moment)

    def read(self, name: str) -> Any:
        """A file of the release as a whole."""
        return json.loads((self.folder / name).read_text(encoding="ascii"))


def releases() -> list[Release]:
    """Every recorded release, by its version."""
    return [Release(path.parent) for path in sorted(FIXTURES.glob("*/release.json"))]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a story's deployment had left in the services at one moment."""

    folder: Path

    def snapshot(self) -> Snapshot:
        """The state of all services."""
        rest = self.read("services.json")
        sent = {path.stem: path.read_bytes().decode("ascii") for path in sorted(self.folder.glob("messages/*.jsonl"))}
        bodies = {queue: _bodies(text) for queue, text in sent.items()}
        definitions = self.read("state_machines.json")
        return Snapshot(
            at=from_iso(rest["at"]),
            ledger=self.read("ledger.json"),
            objects={
                path.relative_to(self.folder / "bucket").as_posix(): path.read_bytes()
                for path in sorted(self.folder.glob("bucket/**/*"))
                if path.is_file()
            },
            queues={
                queue: [{**told, "body": bodies[queue][told["body"]]} for told in messages]
                for queue, messages in rest["queues"].items()
            },
            sent=bodies,
            executions=[
                {**each, "definition": json.dumps(definitions[each["machine"]])} for each in rest["executions"]
            ],
            events=rest["events"],
            targets=rest["targets"],
            announced=rest["announced"],
        )

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="ascii"))

    def write(self, snapshot: Snapshot, readings: Mapping[str, Any]) -> None:
        """Write the snapshot and how the release itself reads it."""
        rest = {
            "at": iso(snapshot.at),
            "queues": {queue: _without_bodies(snapshot, queue) for queue in snapshot.queues},
            "executions": [_without_definition(each) for each in snapshot.executions],
            "events": snapshot.events,
            "targets": snapshot.targets,
            "announced": snapshot.announced,
        }
        machines = {each["machine"]: json.loads(each["definition"]) for each in snapshot.executions}
        write(self.folder / "services.json", json.dumps(rest, indent=1))
        write(self.folder / "state_machines.json", json.dumps(machines, indent=1))
        write(self.folder / "ledger.json", by_line(snapshot.ledger))
        write(self.folder / "readings.json", by_line(readings))
        for key, body in snapshot.objects.items():
            path = self.folder / "bucket" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        for queue, bodies in snapshot.sent.items():
            if bodies:
                write(self.folder / "messages" / f"{queue}.jsonl", "\n".join(map(_one_line, bodies)))


def by_line(fields: Mapping[str, Any]) -> str:
    """A JSON object with each of its fields on a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in fields.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def in_lines(values: Iterable[Any]) -> str:
    """A JSON array with each of its members on a line."""
    return "[\n" + ",\n".join(json.dumps(value, sort_keys=True) for value in values) + "\n]"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{text}\n".encode("ascii"))


def _bodies(text: str) -> list[str]:
    return [json.loads(line) if line.startswith('"') else line for line in text.splitlines()]


def _one_line(body: str) -> str:
    """The bytes of a body, which is ASCII on one line; what is no message of ours, as a JSON text."""
    return body if body.startswith("{") and body.isascii() else json.dumps(body)


def _without_bodies(snapshot: Snapshot, queue: str) -> list[dict[str, Any]]:
    """The messages of a queue, each with the number of its body among those that were ever sent there."""
    found = []
    for told in snapshot.queues[queue]:
        bodies = snapshot.sent[queue]
        found.append({**told, "body": len(bodies) - 1 - list(reversed(bodies)).index(told["body"])})
    return found


def _without_definition(execution: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in execution.items() if name != "definition"}
