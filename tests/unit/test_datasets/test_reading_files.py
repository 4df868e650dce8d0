"""Files become datasets, or one line says why not."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from src.errors import UnreadableFile
from src.storage import csv_blocks, csv_layout
from src.storage.datasets import StoredTable, store_file

GOOD = b"""a,b,c,d,e,z
1,x,2024-01-01,true,2024-01-01T10:00Z,00123
2,"",NA,False,2024-01-02 10:00+02:00,12345
3.5,"NA",,,,
"""

Store = Callable[..., StoredTable]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


@pytest.fixture
def store(tmp_path: Path, folder: Path) -> Store:
    def run(content: bytes, name: str = "data.csv", **options: str) -> StoredTable:
        path = tmp_path / name
        path.write_bytes(content)
        return store_file(path, folder=folder, **options)

    return run


def rows(stored: StoredTable) -> list[dict[str, object]]:
    return pq.read_table(stored.path).to_pylist()


def test_every_type_is_read_as_what_it_spells(store: Store) -> None:
    stored = store(GOOD)
    assert stored.columns == {"a": "float", "b": "str", "c": "date", "d": "bool", "e": "ts", "z": "str"}
    assert rows(stored) == [
        {"a": 1.0, "b": "x", "c": date(2024, 1, 1), "d": True, "e": datetime(2024, 1, 1, 10, tzinfo=UTC), "z": "00123"},
        {"a": 2.0, "b": "", "c": None, "d": False, "e": datetime(2024, 1, 2, 8, tzinfo=UTC), "z": "12345"},
        {"a": 3.5, "b": "NA", "c": None, "d": None, "e": None, "z": None},
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(gzip.compress(GOOD), id="gz"),
        pytest.param(gzip.compress(GOOD[:60]) + gzip.compress(GOOD[60:]), id="gz of two members"),
        pytest.param(bz2.compress(GOOD), id="bz2"),
        pytest.param(pa.compress(GOOD, codec="zstd", asbytes=True), id="zst"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, id="UTF-8 with BOM"),
        pytest.param(GOOD.replace(b",", b";"), id="semicolon"),
        pytest.param(GOOD.replace(b",", b"\t"), id="tab"),
        pytest.param(GOOD.replace(b",", b"|"), id="pipe"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(GOOD.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(GOOD.rstrip(b"\n"), id="no newline at the end"),
    ],
)
def test_the_same_table_in_another_wrapping_is_the_same_dataset(store: Store, content: bytes) -> None:
    assert store(content, "other").dataset_id == store(GOOD).dataset_id


def test_another_value_is_another_dataset(store: Store) -> None:
    assert store(GOOD.replace(b"3.5", b"3.6")).dataset_id != store(GOOD).dataset_id


def test_latin_1_is_read_when_named(store: Store) -> None:
    stored = store("name,n\nJosé,1\n".encode("latin-1"), encoding="latin-1")
    assert rows(stored) == [{"name": "José", "n": 1}]


BIG = b"".join(b"%d,x\n" % i for i in range(5_000))


def ragged(content: bytes) -> bytes:
    return b"a,b\n" + BIG + content


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "e.csv", "is empty"),
        (b"\xef\xbb\xbf \r\n\n", "e.csv", "is empty"),
        (b"a,b\n", "h.csv", "has a header but no rows"),
        (b"a,b", "h.csv", "has a header but no rows"),
        (gzip.compress(b"a,b\n", mtime=0), "h.csv.gz", "has a header but no rows"),
        (bytes(range(256)) * 20, "b.csv", "is binary data"),
        (b"\x7fELF\x02\x01\x01" + bytes(500), "b.csv", "is binary data"),
        (b"PK\x03\x04" + bytes(100), "b.xlsx", "zip or Excel"),
        ("a,b\n1,2\n".encode("utf-16"), "u.csv", "UTF-16"),
        (b"zzzz", "p.parquet", "called .parquet but"),
        (b"PAR1 and then nothing", "p.parquet", "not complete, valid Parquet"),
        (b"a,a\n1,2\n", "d.csv", "column name 'a' occurs more than once"),
        (b"a,\n1,2\n", "d.csv", "column 2 has no name"),
        (b"1,2\n3,4\n", "d.csv", "the first line holds only numbers"),
        (b"a,b\n1,2\n1,\xe9\n", "l.csv", "line 3 is not UTF-8 text; if it is Latin-1"),
        (ragged(b"1,\xe9\n1,2\n"), "l.csv", "line 5002 is not UTF-8"),
        (ragged(b"1\n2,3\n"), "r.csv", "line 5002 has 1 fields where the header has 2"),
        (ragged(b"1,2,3\n"), "r.csv", "line 5002 has 3 fields where the header has 2"),
        (b'a,b\n1,2\n\n"x\ny",2\n3\n', "r.csv", "line 6 has 1 fields"),
        (b'a,b\n1,2\n3,"x\n5,6\n7,8\n', "q.csv", "line 3 opens a quote that is never closed"),
        (gzip.compress(b"a,b\n" + os.urandom(50_000).hex().encode() + b",1\n")[:-20], "t.csv.gz", "damaged"),
    ],
)
def test_an_unreadable_file_says_why_and_leaves_nothing(
    store: Store, folder: Path, content: bytes, name: str, says: str
) -> None:
    with pytest.raises(UnreadableFile, match=says) as error:
        store(content, name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    assert not folder.exists() or not list(folder.iterdir())


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"nope.csv: no such file"):
        store_file(tmp_path / "nope.csv", folder=folder)
    with pytest.raises(UnreadableFile, match="is a folder"):
        store_file(tmp_path, folder=folder)
    assert not folder.exists()


@pytest.fixture
def without_root() -> Iterator[None]:
    """File permissions do not bind root, so the test gives root up for its duration."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    yield
    if was_root:
        os.seteuid(0)


@pytest.mark.usefixtures("without_root")
def test_a_file_without_read_permission_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        path = Path(place) / "secret.csv"
        path.write_bytes(GOOD)
        path.chmod(0)
        with pytest.raises(UnreadableFile, match="permission denied"):
            store_file(path, folder=Path(place) / "datasets")


def parquet(tmp_path: Path, table: pa.Table) -> Path:
    pq.write_table(table, tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def test_parquet_is_brought_to_the_types_of_a_dataset(tmp_path: Path, folder: Path) -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int16"),
            "g": pd.Categorical(["x", "y"]),
            "t": pd.to_datetime(["2024-01-01", None]),
        }
    )
    table = pa.Table.from_pandas(frame.set_index(pd.Index([5, 6])))
    stored = store_file(parquet(tmp_path, table), folder=folder)
    assert stored.columns == {"i": "int", "g": "str", "t": "ts"}
    assert rows(stored)[0] == {"i": 1, "g": "x", "t": datetime(2024, 1, 1, tzinfo=UTC)}
    assert stored.notes == ("column 't' has times without a zone; they are taken as UTC",)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_parquet_is_refused(tmp_path: Path, folder: Path, keep: float) -> None:
    path = parquet(tmp_path, pa.table({"a": list(range(10_000))}))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UnreadableFile, match="not complete, valid Parquet"):
        store_file(path, folder=folder)
    assert not folder.exists() or not list(folder.iterdir())


def test_damage_inside_parquet_is_noticed_and_nothing_kept(tmp_path: Path, folder: Path) -> None:
    path = parquet(tmp_path, pa.table({"a": [os.urandom(20).hex() for _ in range(10_000)]}))
    content = bytearray(path.read_bytes())
    content[100:4_000] = os.urandom(3_900)
    path.write_bytes(content)
    with pytest.raises(UnreadableFile):
        store_file(path, folder=folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"a": pa.array([{"x": 1}])}), "column 'a' has the type struct"),
        (pa.table({"a": pa.array([b"x"])}), "column 'a' has the type binary"),
        (pa.table({"a": pa.array([], pa.int64())}), "has columns but no rows"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), "'a' occurs more than once"),
    ],
)
def test_parquet_that_is_no_dataset_is_refused(tmp_path: Path, folder: Path, table: pa.Table, says: str) -> None:
    with pytest.raises(UnreadableFile, match=says):
        store_file(parquet(tmp_path, table), folder=folder)


@pytest.mark.parametrize(
    ("early", "late", "kind", "value"),
    [
        ("1", "2.5", "float", 1.0),
        ("1", "n/a?", "str", "1"),
        ("1.5", "x", "str", "1.5"),
        ("true", "yes", "str", "true"),
        ("true", "1", "str", "true"),
        ("2024-01-01", "2024-01-01 10:00", "ts", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01", "soon", "str", "2024-01-01"),
        ("12345", "01234", "str", "12345"),
        ("12345", "9" * 20, "str", "12345"),
    ],
)
def test_a_type_broken_late_is_widened_for_the_whole_file_and_said(
    store: Store, monkeypatch: pytest.MonkeyPatch, early: str, late: str, kind: str, value: object
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 4_096)
    content = "k,v\n" + f"1,{early}\n" * 3_000 + f"1,{late}\n"
    stored = store(content.encode())
    assert stored.columns["v"] == kind
    assert rows(stored)[0]["v"] == value
    assert any("column 'v' begins as" in note for note in stored.notes)


def test_a_type_that_holds_needs_no_remark(store: Store) -> None:
    assert store(b"k,v\n" + b"1,2\n" * 3_000).notes == ()


CELLS = st.sampled_from(
    [
        "",
        "1",
        "-2",
        "2.5",
        "007",
        "true",
        "FALSE",
        "2024-02-29",
        "2024-02-29T01:02:03Z",
        "x",
        '"NA"',
        "NA",
        " 7 ",
        "1e3",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.tuples(CELLS, CELLS, st.integers(1, 60)), min_size=1, max_size=3), block=st.integers(50, 400))
@example(runs=[("1", "1", 30), ("2.5", "x", 30)], block=50)
def test_what_is_read_does_not_depend_on_where_blocks_begin(
    store: Store, runs: list[tuple[str, str, int]], block: int
) -> None:
    content = ("a,b\n" + "".join(f"{left},{right}\n" * times for left, right, times in runs)).encode()
    whole = store(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_blocks, "BLOCK_BYTES", block)
        assert store(content).content_sha256 == whole.content_sha256


def test_a_header_may_hold_quoted_line_breaks_and_delimiters(store: Store) -> None:
    assert store(b'"a, b","c\nd"\n1,2\n').columns == {"a, b": "int", "c\nd": "int"}


def test_one_column_keeps_its_missing_values(store: Store) -> None:
    assert rows(store(b"a\n1\n\n3\n")) == [{"a": 1}, {"a": None}, {"a": 3}]


def test_an_unknown_encoding_is_refused(store: Store) -> None:
    with pytest.raises(UnreadableFile, match=f"there is: {csv_layout.ENCODINGS[0]}"):
        store(GOOD, encoding="ebcdic")
