"""The index by which prompts are found by what they say, three letters at a time (SQLite's FTS5).

Images of the same prompt share one entry: the first of them has it. The texts themselves are those of the images.
Some builds of SQLite have no FTS5: there nothing is indexed, and whoever asks looks through all prompts.
"""

from __future__ import annotations

import sqlite3

#: The shortest text that is found by it, in letters.
SHORTEST = 3
TABLE, _TRIGGER = "prompt_words", "prompt_added"


def can_be(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite knows FTS5."""
    return connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is not None


def is_kept_up(connection: sqlite3.Connection) -> bool:
    """Whether every prompt is in it, and it can be asked."""
    return _is_there(connection, _TRIGGER) and can_be(connection)


def is_part(name: str) -> bool:
    """Whether a table or trigger of the database belongs to it: none of them holds anything that is not elsewhere."""
    return name in (TABLE, _TRIGGER) or name.startswith(f"{TABLE}_")


def phrase(text: str) -> str | None:
    """How FTS5 is asked for a text, large or small, anywhere in a prompt; None where it cannot be asked for it."""
    if len(text) < SHORTEST or "\0" in text:
        return None
    return '"' + text.replace('"', '""') + '"'


def make(connection: sqlite3.Connection) -> None:
    """Indexes every prompt, and those that come from now on."""
    connection.execute(f"DROP TABLE IF EXISTS main.{TABLE}")  # and of no database that is attached
    connection.execute(
        f"CREATE VIRTUAL TABLE {TABLE} USING fts5("
        "prompt, content='images', content_rowid='id', tokenize='trigram', columnsize=0)"
    )
    connection.execute(
        f"INSERT INTO {TABLE} (rowid, prompt) "
        "SELECT min(id), prompt FROM images WHERE prompt IS NOT NULL GROUP BY prompt"
    )
    connection.execute(f"""
        CREATE TRIGGER {_TRIGGER} AFTER INSERT ON images
        WHEN NEW.prompt IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM images WHERE prompt = NEW.prompt AND id <> NEW.id)
        BEGIN
            INSERT INTO {TABLE} (rowid, prompt) VALUES (NEW.id, NEW.prompt);
        END""")


def keep_up(connection: sqlite3.Connection) -> None:
    """After a database was opened to be written: it may come from a SQLite that has FTS5 to one that has not, or back.

    Without FTS5 no image could be added while the trigger asks for it.
    """
    possible, kept_up = can_be(connection), _is_there(connection, _TRIGGER)
    if possible == kept_up:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if possible:
            make(connection)
        else:
            connection.execute(f"DROP TRIGGER {_TRIGGER}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _is_there(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None
