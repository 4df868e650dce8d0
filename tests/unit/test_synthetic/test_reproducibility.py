"""Same arguments, same bytes; more rows, the same first rows."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from src.synthetic import PROCESS_NAMES, generate, generate_panel
from src.synthetic.streams import CHUNK_ROWS, Streams

PROCESSES = [name for name in PROCESS_NAMES if name != "panel"]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("process", PROCESSES)
def test_same_arguments_give_the_same_bytes(process: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate(process, 2_500, 11, out_dir=tmp_path / name)
    found = digests(tmp_path / "one")
    assert found == digests(tmp_path / "two")
    assert set(found) == {"data/part-00000.parquet", "truth/part-00000.parquet", "truth.json", "declared.json"}


def test_another_random_state_gives_other_rows() -> None:
    assert not generate("confounded", 100, 1).frame.equals(generate("confounded", 100, 2).frame)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("outcome", ["continuous", "binary"])
def test_more_rows_begin_with_the_same_rows(process: str, outcome: str) -> None:
    few = generate(process, 333, 5, outcome=outcome)
    many = generate(process, 1_700, 5, outcome=outcome)
    pd.testing.assert_frame_equal(few.frame, many.frame.head(333))
    pd.testing.assert_frame_equal(few.side, many.side.head(333))


@pytest.mark.parametrize("process", ["collider_trap", "time_series"])
def test_rows_beyond_the_first_chunk_continue_it(process: str) -> None:
    one = generate(process, CHUNK_ROWS, 5)
    more = generate(process, CHUNK_ROWS + 50, 5)
    pd.testing.assert_frame_equal(one.frame, more.frame.head(CHUNK_ROWS))
    assert more.frame["unit_id"].is_monotonic_increasing
    assert more.frame["unit_id"].iloc[-1] > one.frame["unit_id"].iloc[-1]


def test_parquet_holds_the_rows_made_in_memory(tmp_path: Path) -> None:
    stored = generate("heterogeneous", 1_200, 3, out_dir=tmp_path / "out")
    made = generate("heterogeneous", 1_200, 3)
    assert stored.frame is None
    pd.testing.assert_frame_equal(pq.read_table(stored.parts[0]).to_pandas(), made.frame)
    assert json.loads((tmp_path / "out" / "truth.json").read_text()) == json.loads(json.dumps(made.truth.to_dict()))


def test_per_unit_truth_never_enters_the_analysis_frame() -> None:
    for process in PROCESSES:
        made = generate(process, 200, 3)
        assert not {"y0", "y1", "true_cate", "u"} & set(made.frame.columns)
        assert len(made.side) == len(made.frame)


def test_variables_have_streams_of_their_own() -> None:
    streams = Streams(1, "confounded", 0)
    np.testing.assert_array_equal(streams.normal("a", 5), streams.normal("a", 50)[:5])
    assert not np.array_equal(streams.normal("a", 5), streams.normal("b", 5))
    assert not np.array_equal(streams.normal("a", 5), Streams(1, "confounded", 1).normal("a", 5))


def test_panel_same_arguments_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate_panel(60, 3, out_dir=tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_more_hcps_begin_with_the_same_hcps() -> None:
    few, many = generate_panel(45, 3), generate_panel(90, 3)
    pd.testing.assert_frame_equal(few.panel, many.panel.head(len(few.panel)))
    pd.testing.assert_frame_equal(few.tables["hcp_profiles"], many.tables["hcp_profiles"].head(45))
