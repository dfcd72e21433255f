#!/usr/bin/env python3
"""Small Parquet files by pyarrow, with the rows that they hold as JSON lines beside them.

    python tests/parity/make_parquet.py tests/parity/data/parquet
"""
import datetime
import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [
    {"prompt": "2+2=", "answer": 4, "score": 0.5, "ok": True, "messages": [{"role": "user", "content": "hi \u00e9\u4f60\U0001f600"}],
     "ids": [1, 2, 3], "kind": "a", "day": None},
    {"prompt": "", "answer": -7, "score": None, "ok": False,
     "messages": [{"role": "system", "content": "\"quoted\"\n"}, {"role": "user"}], "ids": [], "kind": "b", "day": None},
    {"prompt": None, "answer": 9007199254740993, "score": -1.25e300, "ok": None, "messages": [], "ids": None, "kind": "a",
     "day": datetime.date(2024, 2, 29)},
]  # fmt: skip


def main(root):
    root.mkdir(parents=True, exist_ok=True)
    message = pa.struct([("role", pa.string()), ("content", pa.large_string())])
    schema = pa.schema([
        ("prompt", pa.string()), ("answer", pa.int64()), ("score", pa.float64()), ("ok", pa.bool_()),
        ("messages", pa.list_(message)), ("ids", pa.large_list(pa.int32())),
        ("kind", pa.dictionary(pa.int8(), pa.string())), ("day", pa.date32())])  # fmt: skip
    table = pa.Table.from_pylist(ROWS * 3, schema=schema)
    for codec in ("zstd", "snappy", "gzip"):
        pq.write_table(table, root / f"{codec}.parquet", compression=codec, row_group_size=4)
    pq.write_table(pa.table({"prompt": ["x"], "image": [b"\x00\x01"]}), root / "binary.parquet")
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), root / "empty.parquet")
    with open(root / "rows.jsonl", "w") as out:
        for row in ROWS * 3:
            row = {key: str(value) if key == "day" else value for key, value in row.items() if value is not None}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
