/*
 * SQLite's own files, with the test in front of each access to them.
 *
 * The writes, reads and syncs of every database, journal and log that this process opens after
 * sqlite_files_watch() ask the test first.
 */
#ifndef TESTS_UNIT_SQLITE_FILES_H
#define TESTS_UNIT_SQLITE_FILES_H

enum sqlite_file_access { SQLITE_FILE_READ, SQLITE_FILE_WRITE, SQLITE_FILE_SYNC };

/* SQLITE_OK: it is done; else the result code with which it fails. */
typedef int (*sqlite_files_ask)(enum sqlite_file_access access);

/* Once, before the first database is opened. */
void sqlite_files_watch(sqlite_files_ask ask);

#endif
