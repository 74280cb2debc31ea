"""The steps of the tables: up, down and up again, on both databases, and equal to the models."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import pneumoscope.records.migrations
from pneumoscope.errors import RecordError
from pneumoscope.records.database import REVISION, Database
from pneumoscope.records.record import Record
from pneumoscope.records.tables import Table


@pytest.fixture
def empty(tmp_path, database):
    """An empty database."""
    opened = Database(database or f"sqlite:///{tmp_path / 'record.sqlite'}")
    yield opened
    opened.close()


def _list_steps():
    config = Config()
    config.set_main_option("script_location", pneumoscope.records.migrations.__path__[0])
    return ScriptDirectory.from_config(config)


def _list_tables(database):
    return set(inspect(database.engine).get_table_names()) - {"alembic_version"}


def test_this_version_knows_the_newest_step():
    assert _list_steps().get_current_head() == REVISION


def test_the_tables_go_up_and_down_step_by_step(empty):
    steps = [step.revision for step in reversed([*_list_steps().walk_revisions()])]
    assert empty.find_revision() is None
    for step in [*steps, *reversed(steps), *steps]:
        empty.migrate(step)
        assert empty.find_revision() == step
    assert _list_tables(empty) == set(Table.metadata.tables)
    empty.migrate("base")
    assert empty.find_revision() is None
    assert _list_tables(empty) == set()
    empty.migrate()
    assert empty.find_revision() == REVISION


def test_the_last_step_has_the_tables_of_the_models(empty):
    empty.migrate()
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
        # and a difference would be seen
        connection.execute(text("DROP INDEX ix_studies_worklist"))
        differences = compare_metadata(context, Table.metadata)
    assert [difference[0] for difference in differences] == ["add_index"]


def test_what_a_newer_version_wrote_is_left_alone(tmp_path, database, empty):
    empty.migrate()
    with empty.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordError, match=r"newer version \(step 9999, this one knows .*upgrade"):
        Record(tmp_path, database)


def test_what_others_wrote_is_left_alone(tmp_path, database, empty):
    with empty.begin() as session:
        session.execute(text("CREATE TABLE patients (name VARCHAR(9))"))
    with pytest.raises(RecordError, match="holds tables of something else"):
        Record(tmp_path, database)
    assert _list_tables(empty) == {"patients"}


def test_a_table_that_was_taken_away_is_missed_at_once(tmp_path, database, empty):
    empty.migrate()
    with empty.begin() as session:
        session.execute(text("DROP TABLE readings"))
    with pytest.raises(RecordError, match=r"lacks the table readings: .* restore a backup"):
        Record(tmp_path, database)


def test_a_step_that_there_is_not_is_named(empty):
    with pytest.raises(RecordError, match=f"no step 'nosuch': choose 0001, .*{REVISION}"):
        empty.migrate("nosuch")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("mysql://host/name", "found 'mysql'"),
        ("sqlite://", "found 'sqlite' without a file"),
        ("nonsense", "found something else"),
        ("postgresql://user:s3cret@127.0.0.1:1/name", r"user:\*\*\*@127.0.0.1:1/name does not"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(address, sentence):
    with pytest.raises(RecordError, match=sentence) as caught:
        Database(address).find_revision()
    assert "s3cret" not in str(caught.value)


def test_a_database_has_its_images_in_one_folder(tmp_path, postgresql):
    with Record(tmp_path / "one", postgresql), Record(tmp_path / "one", postgresql):
        pass
    with pytest.raises(RecordError, match=r"images in another folder than \S*two: name that one"):
        Record(tmp_path / "two", postgresql)
    with Record(tmp_path / "two", None):
        pass
