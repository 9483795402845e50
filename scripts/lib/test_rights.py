"""What `scripts/rights` prints of PostgreSQL. Run with: python3 -m unittest discover scripts/lib"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "services.d"))

import rights  # noqa: E402


class Postgres(unittest.TestCase):
    def test_the_process_may_read_write_and_change_rows_of_the_declared_tables_and_of_its_books_and_delete_ids_alone(self):
        self.assertEqual(rights.postgres(["public.ventas", "guild.reportes"]), [
            "GRANT USAGE ON SCHEMA aguacero, guild, public TO tables",
            "GRANT SELECT, INSERT, UPDATE ON TABLE aguacero.dead_letters, aguacero.events, aguacero.offsets, "
            "aguacero.streams, guild.reportes, public.ventas TO tables",
            "GRANT DELETE ON TABLE aguacero.events TO tables"])

    def test_nobody_else_comes_into_the_database(self):
        self.assertEqual(rights.postgres_connect("guild-1"), ['REVOKE ALL ON DATABASE "guild-1" FROM PUBLIC',
                                                              'GRANT CONNECT ON DATABASE "guild-1" TO tables'])

    def test_a_name_that_is_no_plain_word_is_quoted(self):
        self.assertEqual(rights.quoted("public.Ventas"), 'public."Ventas"')
        self.assertEqual(rights.quoted('a"b.c_1'), '"a""b".c_1')

    def test_in_kafka_the_process_has_rights_only_where_there_are_tables(self):
        def users(**tables):
            return {user for user, *_ in rights.kafka_rules(["a", "b"], ["g"], **tables)}

        self.assertNotIn(rights.TABLES, users())
        self.assertIn(rights.TABLES, users(table_topics=["a"], table_groups=["t"]))


if __name__ == "__main__":
    unittest.main()
