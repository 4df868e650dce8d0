"""Bad arguments are refused in one line and nothing is written."""

from pathlib import Path

import pytest

from src.errors import ContractViolation
from src.synthetic import generate, generate_panel, panel_declared
from src.synthetic.panel.world import MONTHS


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("confoundd", 100, 1), "confounded"),
        (("panel", 100, 1), "generate_panel"),
        (("confounded", 0, 1), "rows"),
        (("confounded", -5, 1), "rows"),
        (("confounded", 10_000_001, 1), "10,000,000"),
        (("confounded", 2_000_001, 1), "output folder"),
        (("confounded", 1.5, 1), "rows"),
        (("confounded", True, 1), "rows"),
        (("confounded", 100, -1), "random_state"),
        (("confounded", 100, "7"), "random_state"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: tuple[object, ...], named: str) -> None:
    with pytest.raises(ContractViolation, match=named) as refused:
        generate(*arguments)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_unknown_outcome_kind_is_refused() -> None:
    with pytest.raises(ContractViolation, match="continuous or binary"):
        generate("confounded", 100, 1, outcome="count")


@pytest.mark.parametrize("n_hcps", [0, 29, 300_001, 50_001])
def test_panel_sizes_out_of_range_are_refused(n_hcps: int) -> None:
    with pytest.raises(ContractViolation, match="HCPs"):
        generate_panel(n_hcps, 1)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ContractViolation, match="not an empty folder"):
        generate("confounded", 100, 1, out_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_generation_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate("confounded", 100, 1, out_dir=tmp_path / "out", on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_generation_left_is_removed_by_the_next(tmp_path: Path) -> None:
    abandoned = tmp_path / ".out.999999999.partial"
    abandoned.mkdir()
    generate("confounded", 100, 1, out_dir=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    made = generate("confounded", 100, 1, out_dir=tmp_path / "out")
    assert made.parts[0].exists()


def test_progress_reaches_the_total() -> None:
    seen: list[tuple[int, int]] = []
    generate("confounded", 150_000, 1, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(100_000, 150_000), (150_000, 150_000)]
    seen.clear()
    generate_panel(30, 1, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(30 * MONTHS, 30 * MONTHS)]


@pytest.mark.parametrize(
    ("treatment", "outcome", "named"), [("rep_cals", "nrx", "rep_calls"), ("samples", "nrxx", "nrx")]
)
def test_questions_the_panel_cannot_ask_are_refused_with_the_nearest_name(
    treatment: str, outcome: str, named: str
) -> None:
    with pytest.raises(ContractViolation, match=f"did you mean '{named}'"):
        panel_declared(treatment, outcome)
