"""Which patients stand behind the scripts of the claims sample, and what happened to each of them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.domain.splits import SPLIT_NAMES, chronological
from src.synthetic.panel.simulation import World
from src.synthetic.panel.tables.cells import FIRST_DAY, LAST_DAY, month_start
from src.synthetic.panel.world import MONTHS
from src.synthetic.streams import BoolArray, FloatArray, IntArray

CLAIMS_HCPS = 120
EARLIER_PATIENTS = 6
KINDS = ("diagnosis", "lab_test", "consultation", "procedure", "hospitalization", "new_to_brand", "new", "refill")
FIRST_SCRIPT = KINDS.index("new_to_brand")
# Share of patients with such an event between diagnosis and last contact.
CARE_SHARES = (("lab_test", 0.75), ("consultation", 0.6), ("procedure", 0.12), ("hospitalization", 0.04))
SPLITS = SPLIT_NAMES


@dataclass(frozen=True)
class Patients:
    """Patients, arrays of shape (n,); days count from 1970. ``hcp`` is the row of the HCP in its chunk.

    ``start`` is the day of diagnosis (index date), ``end`` the end of the journey where ``ended``,
    ``last`` the last event, ``split`` a code into SPLITS by index date with a gap after each cut.
    """

    hcp: IntArray
    start: IntArray
    end: IntArray
    ended: BoolArray
    last: IntArray
    severity: FloatArray
    split: IntArray


@dataclass(frozen=True)
class Events:
    """Events in order of patient and day, arrays of shape (n,). ``kind`` is a code into KINDS."""

    patient: IntArray
    hcp: IntArray
    day: IntArray
    kind: IntArray
    sequence: IntArray


@dataclass(frozen=True)
class Claims:
    """The claims sample: the first ``n_hcps`` HCPs with all their patients and scripts.

    ``seen_before`` (HCPs, 36) counts the patients of an HCP who started before that month,
    ``first_patient`` is the row of each HCP's first patient.
    """

    world: World
    n_hcps: int
    patients: Patients
    events: Events
    first_patient: IntArray
    seen_before: IntArray

    def rng(self, variable: str) -> np.random.Generator:
        """Generator of a table's variable."""
        return self.world.streams.rng(f"table {variable}")

    def pick_patients(self, rng: np.random.Generator, hcp: IntArray, month: IntArray) -> IntArray:
        """For each (HCP, month) one of the HCP's patients who started before that month."""
        return self.first_patient[hcp] + np.floor(rng.random(len(hcp)) * self.seen_before[hcp, month]).astype(np.int64)


def draw_claims(world: World) -> Claims:
    """Give every script of the claims sample a patient: NBRx starts one, the others go to earlier patients."""
    n = min(world.n, CLAIMS_HCPS)
    nbrx = world.scripts["nbrx"][:n]
    new = world.scripts["nrx"][:n] - nbrx
    refill = world.scripts["trx"][:n] - world.scripts["nrx"][:n]
    started = np.concatenate([np.full((n, 1), EARLIER_PATIENTS), nbrx], axis=1)
    first_patient = np.concatenate([[0], np.cumsum(started.sum(axis=1))[:-1]])
    seen_before = np.cumsum(started, axis=1)[:, :MONTHS]
    empty = np.empty(0, dtype=np.int64)
    claims = Claims(world, n, _no_patients(), Events(empty, empty, empty, empty, empty), first_patient, seen_before)
    hcp = np.repeat(np.repeat(np.arange(n), MONTHS + 1), started.ravel())
    month = np.repeat(np.tile(np.arange(-1, MONTHS), n), started.ravel())
    patients, first_script = _start(claims, hcp, month)
    events = _events(claims, patients, first_script, new, refill)
    return Claims(world, n, _finish(claims, patients, events), events, first_patient, seen_before)


def _no_patients() -> Patients:
    none = np.empty(0, dtype=np.int64)
    return Patients(none, none, none, none.astype(np.bool_), none, none.astype(np.float64), none)


def _start(claims: Claims, hcp: IntArray, month: IntArray) -> tuple[Patients, IntArray]:
    """Patients with index date, and the day of their first script (−1: before the panel began)."""
    n = len(hcp)
    days = month_start(np.maximum(month, 0)) + claims.rng("first script day").integers(0, 21, n)
    waiting = 3 + np.floor(claims.rng("diagnosis to script").gamma(1.5, 14.0, n)).astype(np.int64)
    earlier = FIRST_DAY - claims.rng("earlier start").integers(30, 185, n)
    start = np.where(month < 0, earlier, days - waiting)
    severity = np.clip(5.0 + 2.0 * claims.rng("severity").standard_normal(n), 0.0, 10.0)
    blank = np.zeros(n, dtype=np.int64)
    return Patients(hcp, start, blank, blank.astype(np.bool_), blank, severity, blank), np.where(month < 0, -1, days)


def _events(claims: Claims, patients: Patients, first: IntArray, new: IntArray, refill: IntArray) -> Events:
    rows = [(np.arange(len(first)), patients.start, "diagnosis")]
    starting = np.flatnonzero(first >= 0)
    rows.append((starting, first[starting], "new_to_brand"))
    for kind, counts in (("new", new), ("refill", refill)):
        hcp, month = (np.repeat(part.ravel(), counts.ravel()) for part in np.indices(counts.shape))
        patient = claims.pick_patients(claims.rng(f"{kind} patient"), hcp, month)
        rows.append((patient, month_start(month) + claims.rng(f"{kind} day").integers(0, 28, len(hcp)), kind))
    last = np.zeros(len(first), dtype=np.int64)
    for patient, day, _ in rows:
        np.maximum.at(last, patient, day)
    for kind, share in CARE_SHARES:
        rng = claims.rng(kind)
        patient = np.flatnonzero(rng.random(len(first)) < share)
        span = last[patient] - patients.start[patient]
        rows.append(
            (patient, patients.start[patient] + np.floor(rng.random(len(patient)) * (span + 1)).astype(int), kind)
        )
    patient, day = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
    kinds = np.concatenate([np.full(len(row[0]), KINDS.index(row[2])) for row in rows])
    order = np.lexsort((kinds, day, patient))
    patient = patient[order]
    begins = np.searchsorted(patient, patient, side="left")
    return Events(patient, patients.hcp[patient], day[order], kinds[order], np.arange(len(patient)) - begins + 1)


def _finish(claims: Claims, patients: Patients, events: Events) -> Patients:
    n = len(patients.hcp)
    last = np.zeros(n, dtype=np.int64)
    np.maximum.at(last, events.patient, events.day)
    ended = (last < LAST_DAY - 180) & (claims.rng("ended").random(n) < 0.8)
    end = last + claims.rng("end").integers(0, 30, n)
    return Patients(patients.hcp, patients.start, end, ended, last, patients.severity, assign_splits(patients.start))


def assign_splits(index_day: IntArray) -> IntArray:
    """Chronological split of patients: cuts at 60/80/95 % of index dates; a week after each cut is unassigned."""
    return chronological(index_day).codes
