"""A database on disk: a table, rows in several transactions, one rolled back, a query."""

import sqlite3

base = sqlite3.connect("base.sqlite")
base.execute("create table trade (id integer primary key, name text)")
for start in range(0, 100, 25):
    with base:
        base.executemany("insert into trade values (?, ?)", [(start + i, "x" * i) for i in range(25)])
base.execute("delete from trade")
base.rollback()
assert base.execute("select count(*) from trade").fetchone() == (100,)
base.close()
