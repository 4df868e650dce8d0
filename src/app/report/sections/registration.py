"""How does the analysis stand to the plan that was registered for it?"""

from __future__ import annotations

from src.app.registration.telling import registration_document, registration_lines
from src.app.report.blocks import Block, Paragraph, Section, Table
from src.causal_engine.results import Analysis
from src.storage.records import RunRecord


def registration_section(run: RunRecord, analysis: Analysis) -> Section | None:
    """What was registered, when and by whom, and every deviation; None without a plan."""
    found = registration_document(run, analysis)
    if found is None:
        return None
    blocks: list[Block] = [Paragraph(line) for line in registration_lines(run, analysis)]
    rows = tuple((one["what"], one["registered"], one["asked"], one["reason"]) for one in found["deviations"])
    if rows:
        blocks.append(
            Table(("Choice", "Registered", "Done", "Why"), rows, heading="Deviations from the registered plan")
        )
    identity = (("Plan", found["plan_id"]), ("Hash (SHA-256)", found["sha256"]))
    blocks.append(Table(("Registered plan", found["title"]), identity))
    return Section("registration", "Registered plan", tuple(blocks))
