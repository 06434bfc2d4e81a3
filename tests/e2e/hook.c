/*
 * Faults at an exact call, for the end-to-end tests: preloaded into blockmig, so that the
 * program itself knows nothing of it.
 *
 *   HOOK_BEFORE_suspend='command'   run by /bin/sh before virDomainSuspend; also AFTER, and
 *   HOOK_AFTER_pivot='command'      for: snapshot blockcopy suspend pivot resume save commit
 *                                   define, and graft: a snapshot behind a pivot
 *   HOOK_AT_seed='command'          when the ledger has the begin of the phase, undo_freeze for
 *                                   the begin of an undo
 *   HOOK_AT_inspect='command'       when the domain's XML is first asked for
 *   HOOK_IN_seed='command'          at the third commit of the phase, in the midst of a copy
 *   HOOK_ONCE=FILE                  only while FILE does not exist; it is made at the first
 *   HOOK_SYNCHRONOUS=FILE           a block copy runs in write-blocking mode while FILE does
 *                                   not exist; it is made at the first.  The guest is then
 *                                   given two seconds for writes that go wrong
 *   HOOK_FLIP=PART:OFFSET[:TIMES]   a byte that is written at OFFSET of a file whose path
 *                                   contains PART is stored wrong, TIMES times (0: always)
 *
 * The command sees BLOCKMIG_PID.  The command "reset" is none: all connections of blockmig's
 * to the servers are cut.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int first_time(const char *once)
{
	if (!once)
		return 1;
	int fd = open(once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void reset_connections(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_storage peer;
		socklen_t length = sizeof peer;

		if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
		    (peer.ss_family == AF_INET || peer.ss_family == AF_INET6))
			shutdown(fd, SHUT_RDWR);
	}
}

static void run(const char *when, const char *call)
{
	char name[64], pid[32];

	snprintf(name, sizeof name, "HOOK_%s_%s", when, call);
	const char *command = getenv(name);

	if (!command || !first_time(getenv("HOOK_ONCE")))
		return;
	if (strcmp(command, "reset") == 0) {
		reset_connections();
		return;
	}
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("BLOCKMIG_PID", pid, 1);
	/* The command's own programs are not to be hooked. */
	char *preload = getenv("LD_PRELOAD") ? strdup(getenv("LD_PRELOAD")) : NULL;

	unsetenv("LD_PRELOAD");
	if (system(command) == -1)
		perror("hook");
	if (preload)
		setenv("LD_PRELOAD", preload, 1);
	free(preload);
}

int virDomainSuspend(virDomainPtr domain)
{
	run("BEFORE", "suspend");
	int result = NEXT(virDomainSuspend)(domain);

	run("AFTER", "suspend");
	return result;
}

int virDomainResume(virDomainPtr domain)
{
	run("BEFORE", "resume");
	int result = NEXT(virDomainResume)(domain);

	run("AFTER", "resume");
	return result;
}

static bool has_pivoted;

int virDomainBlockJobAbort(virDomainPtr domain, const char *disk, unsigned int flags)
{
	int pivot = (flags & VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT) != 0;

	if (pivot)
		run("BEFORE", "pivot");
	int result = NEXT(virDomainBlockJobAbort)(domain, disk, flags);

	if (pivot)
		run("AFTER", "pivot");
	has_pivoted |= pivot;
	return result;
}

int virDomainBlockCopy(virDomainPtr domain, const char *disk, const char *xml,
		       virTypedParameterPtr parameters, int count, unsigned int flags)
{
	bool spoilt = getenv("HOOK_SYNCHRONOUS") && first_time(getenv("HOOK_SYNCHRONOUS"));

	if (spoilt)
		flags |= VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES;
	run("BEFORE", "blockcopy");
	int result = NEXT(virDomainBlockCopy)(domain, disk, xml, parameters, count, flags);

	if (spoilt)
		sleep(2);
	run("AFTER", "blockcopy");
	return result;
}

int virDomainBlockCommit(virDomainPtr domain, const char *disk, const char *base, const char *top,
			 unsigned long bandwidth, unsigned int flags)
{
	run("BEFORE", "commit");
	int result = NEXT(virDomainBlockCommit)(domain, disk, base, top, bandwidth, flags);

	run("AFTER", "commit");
	return result;
}

virDomainSnapshotPtr virDomainSnapshotCreateXML(virDomainPtr domain, const char *xml,
						unsigned int flags)
{
	const char *name = has_pivoted ? "graft" : "snapshot";

	run("BEFORE", name);
	virDomainSnapshotPtr result = NEXT(virDomainSnapshotCreateXML)(domain, xml, flags);

	run("AFTER", name);
	return result;
}

int virDomainSaveFlags(virDomainPtr domain, const char *to, const char *xml, unsigned int flags)
{
	run("BEFORE", "save");
	int result = NEXT(virDomainSaveFlags)(domain, to, xml, flags);

	run("AFTER", "save");
	return result;
}

char *virDomainGetXMLDesc(virDomainPtr domain, unsigned int flags)
{
	run("AT", "inspect");
	return NEXT(virDomainGetXMLDesc)(domain, flags);
}

virDomainPtr virDomainDefineXMLFlags(virConnectPtr connection, const char *xml, unsigned int flags)
{
	run("BEFORE", "define");
	virDomainPtr result = NEXT(virDomainDefineXMLFlags)(connection, xml, flags);

	run("AFTER", "define");
	return result;
}

/* ---- phases, as the ledger has them --------------------------------------------------------- */

static char begun[32]; /* "seed", "undo_freeze": begun in the transaction that is open */
static char phase[32];
static int commits;

/* "INSERT INTO phase (...) VALUES (7, 'freeze', 1, ...": the job, the name, whether it undoes. */
static void note_begin(sqlite3_stmt *statement)
{
	char name[24] = "";
	int undo = 0;
	char *sql = sqlite3_expanded_sql(statement);
	const char *values = sql ? strstr(sql, "VALUES (") : NULL;

	if (values && sscanf(values, "VALUES (%*d, '%23[a-z]', %d", name, &undo) == 2)
		snprintf(begun, sizeof begun, "%s%s", undo ? "undo_" : "", name);
	sqlite3_free(sql);
}

static void note_commit(void)
{
	if (*begun) {
		memcpy(phase, begun, sizeof phase);
		*begun = 0;
		commits = 0;
		run("AT", phase);
	} else if (*phase && ++commits == 3) {
		run("IN", phase);
	}
}

int sqlite3_step(sqlite3_stmt *statement)
{
	const char *sql = sqlite3_sql(statement);
	bool is_begin = sql && strncmp(sql, "INSERT INTO phase ", 18) == 0;
	bool is_commit = sql && strcmp(sql, "COMMIT") == 0;
	int result = NEXT(sqlite3_step)(statement);

	if (is_begin)
		note_begin(statement);
	if (is_commit && result == SQLITE_DONE)
		note_commit();
	return result;
}

/* ---- a byte that is stored wrong ------------------------------------------------------------ */

/* Whether the write at @offset has the byte that HOOK_FLIP names; *at is its place. */
static int flips(int fd, size_t count, int64_t offset, size_t *at)
{
	static int times = -1, limit;
	static int64_t where;
	static char part[256];
	const char *spec = getenv("HOOK_FLIP");
	char link[64], path[4096];

	if (!spec)
		return 0;
	if (times < 0) {
		times = 0;
		long long wanted = 0;

		if (sscanf(spec, "%255[^:]:%lld:%d", part, &wanted, &limit) < 2)
			return 0;
		where = wanted;
	}
	if (where < offset || where >= offset + (int64_t)count || (limit && times >= limit))
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, sizeof path - 1);

	if (length < 0)
		return 0;
	path[length] = 0;
	if (!strstr(path, part))
		return 0;
	times++;
	*at = (size_t)(where - offset);
	return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset)
{
	size_t at;

	if (!flips(fd, count, offset, &at))
		return NEXT(pwrite64)(fd, data, count, offset);
	/* O_DIRECT wants the copy aligned as the original is. */
	void *wrong = NULL;

	if (posix_memalign(&wrong, 4096, count) != 0)
		return -1;
	memcpy(wrong, data, count);
	((unsigned char *)wrong)[at] ^= 1;
	ssize_t result = NEXT(pwrite64)(fd, wrong, count, offset);

	free(wrong);
	return result;
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset)
{
	return pwrite64(fd, data, count, offset);
}
