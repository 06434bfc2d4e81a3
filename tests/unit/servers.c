#include "tests/unit/servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TARGET "iqn.2026-01.com.example:test"

enum {
	NFS_PORT = 20490,
	MOUNT_PORT = 20480,
	ISCSI_PORT = 3260,
	START_MS = 30000,
	LOG_BYTES = 4000
};

static char *folder;
static char *export_folder;
static pid_t nfs_pid, iscsi_pid;

static void G_GNUC_NORETURN die(const char *what)
{
	fprintf(stderr, "private servers: %s: %s\n", what, g_strerror(errno));
	_exit(99);
}

/* ---- the namespaces ----------------------------------------------------------- */

static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		die("raise lo");
	close(fd);
}

static void enter_namespaces(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		die("unshare (it takes root)");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") < 0)
		die("mount");
	g_mkdir_with_parents("/var/lib/nfs", 0755);
	if (mount("tmpfs", "/var/lib/nfs", "tmpfs", 0, "mode=0755") < 0)
		die("mount /var/lib/nfs");
	g_mkdir_with_parents("/var/lib/nfs/ganesha", 0755);
	g_mkdir_with_parents("/run/ganesha", 0755);
	g_mkdir_with_parents("/run/tgtd", 0755);
	raise_loopback();
}

/* The namespace's first process: reaps orphans until the tests have ended. */
static void G_GNUC_NORETURN reap(pid_t tests)
{
	int status;

	for (;;) {
		pid_t pid = waitpid(-1, &status, 0);

		if (pid == tests)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
		if (pid < 0 && errno != EINTR)
			die("waitpid");
	}
}

static int remove_entry(const char *path, const struct stat *facts G_GNUC_UNUSED,
			int type G_GNUC_UNUSED, struct FTW *walk G_GNUC_UNUSED)
{
	return remove(path);
}

static int await_child(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static pid_t fork_attached(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/*
 * A process that unshares its PID namespace can start nothing any more once the first
 * process in it has ended, not even the leak checker's thread at exit: so it is one
 * between the caller and the namespace.
 */
static void G_GNUC_NORETURN run_inside(int (*tests)(void))
{
	pid_t first, child;

	if (unshare(CLONE_NEWPID) < 0)
		die("unshare (it takes root)");
	first = fork_attached();
	if (first > 0)
		_exit(await_child(first));
	enter_namespaces();
	child = fork_attached();
	if (child > 0)
		reap(child);
	exit(tests());
}

int servers_run(int (*tests)(void))
{
	folder = g_dir_make_tmp("blockmig-servers-XXXXXX", NULL);
	export_folder = g_build_filename(folder, "export", NULL);
	if (!folder || g_mkdir(export_folder, 0777) < 0)
		die("temporary folder");

	pid_t between = fork_attached();
	if (between == 0)
		run_inside(tests);
	int status = await_child(between);
	nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	g_free(folder);
	g_free(export_folder);
	return status;
}

/* ---- processes ---------------------------------------------------------------- */

static pid_t start(const char *const *arguments)
{
	g_autofree char *log = g_build_filename(folder, "servers.log", NULL);
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execvp(arguments[0], (char **)arguments);
		_exit(127);
	}
	return pid;
}

static gboolean answers(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((guint16)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	gboolean good = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return good;
}

/* What the servers themselves say about it. */
static void show_log(const char *name)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autofree char *text = NULL;
	gsize bytes = 0;

	if (g_file_get_contents(path, &text, &bytes, NULL))
		fprintf(stderr, "%s:\n%s\n", name, text + bytes - MIN(bytes, (gsize)LOG_BYTES));
}

static void await_port(int port)
{
	gint64 end = g_get_monotonic_time() + START_MS * 1000;

	while (!answers(port)) {
		if (g_get_monotonic_time() > end) {
			fprintf(stderr, "port %d:\n", port);
			show_log("servers.log");
			show_log("ganesha.log");
			die("a server does not answer");
		}
		g_usleep(10000);
	}
}

static void end(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

/* ---- NFS ---------------------------------------------------------------------- */

const char *nfs_server_folder(void)
{
	return export_folder;
}

char *nfs_server_url(const char *name)
{
	return g_strdup_printf("nfs://127.0.0.1:%d%s/%s?mountport=%d", NFS_PORT, export_folder,
			       name, MOUNT_PORT);
}

static char *write_nfs_settings(void)
{
	char *path = g_build_filename(folder, "ganesha.conf", NULL);
	g_autofree char *text = g_strdup_printf(
		"NFS_CORE_PARAM { Protocols = 3; NFS_Port = %d; MNT_Port = %d;\n"
		"  Enable_NLM = false; Enable_RQUOTA = false;\n"
		"  Plugins_Dir = \"/usr/lib/x86_64-linux-gnu/ganesha\"; }\n"
		"NFSV4 { Graceless = true; RecoveryBackend = fs; }\n"
		"EXPORT { Export_Id = 1; Path = %s; Pseudo = /test; Access_Type = RW;\n"
		"  Squash = None; Protocols = 3; Transports = TCP; Attr_Expiration_Time = 0;\n"
		"  FSAL { Name = VFS; } }\n",
		NFS_PORT, MOUNT_PORT, export_folder);

	if (!g_file_set_contents(path, text, -1, NULL))
		die(path);
	return path;
}

void nfs_server_start(void)
{
	g_autofree char *settings = write_nfs_settings();
	g_autofree char *log = g_build_filename(folder, "ganesha.log", NULL);
	const char *const mapper[] = {"rpcbind", "-w", "-f", NULL};
	const char *const ganesha[] = {"ganesha.nfsd",	   "-F", "-f", settings, "-L", log, "-p",
				       "/run/ganesha.pid", NULL};

	if (!answers(111))
		start(mapper);
	await_port(111);
	nfs_pid = start(ganesha);
	await_port(MOUNT_PORT);
	await_port(NFS_PORT);
}

void nfs_server_kill(void)
{
	end(&nfs_pid);
}

void nfs_server_freeze(void)
{
	kill(nfs_pid, SIGSTOP);
}

void nfs_server_thaw(void)
{
	kill(nfs_pid, SIGCONT);
}

/* ---- iSCSI -------------------------------------------------------------------- */

static gboolean tgtadm(const char *first, ...) G_GNUC_NULL_TERMINATED;

static gboolean tgtadm(const char *first, ...)
{
	g_autoptr(GPtrArray) arguments = g_ptr_array_new();
	g_autofree char *problem = NULL;
	va_list more;
	int status = -1;

	g_ptr_array_add(arguments, (char *)"tgtadm");
	g_ptr_array_add(arguments, (char *)"--lld");
	g_ptr_array_add(arguments, (char *)"iscsi");
	va_start(more, first);
	for (const char *argument = first; argument; argument = va_arg(more, const char *))
		g_ptr_array_add(arguments, (char *)argument);
	va_end(more);
	g_ptr_array_add(arguments, NULL);
	return g_spawn_sync(NULL, (char **)arguments->pdata, NULL,
			    G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
			    &problem, &status, NULL) &&
	       g_spawn_check_wait_status(status, NULL);
}

static void require(gboolean done, const char *what)
{
	if (!done)
		die(what);
}

static void await_manager(void)
{
	gint64 limit = g_get_monotonic_time() + START_MS * 1000;

	while (!tgtadm("--op", "show", "--mode", "target", NULL)) {
		if (g_get_monotonic_time() > limit)
			die("tgtd does not answer");
		g_usleep(10000);
	}
}

void iscsi_server_start(void)
{
	const char *const tgtd[] = {"tgtd", "-f", "--iscsi", "portal=127.0.0.1:3260", NULL};

	iscsi_pid = start(tgtd);
	await_port(ISCSI_PORT);
	await_manager();
	require(tgtadm("--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET, NULL),
		"tgtadm: new target");
	require(tgtadm("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL", NULL),
		"tgtadm: bind");
}

void iscsi_server_kill(void)
{
	end(&iscsi_pid);
}

void iscsi_server_freeze(void)
{
	kill(iscsi_pid, SIGSTOP);
}

void iscsi_server_thaw(void)
{
	kill(iscsi_pid, SIGCONT);
}

char *iscsi_server_backing(int lun)
{
	return g_strdup_printf("%s/lun%d", folder, lun);
}

char *iscsi_server_url(int lun)
{
	if (lun < 0)
		return g_strdup_printf("iscsi://127.0.0.1/%s/", TARGET);
	return g_strdup_printf("iscsi://127.0.0.1/%s/%d", TARGET, lun);
}

void iscsi_server_add_lun(int lun, guint64 size_bytes, int block_bytes, gboolean thin)
{
	g_autofree char *path = iscsi_server_backing(lun);
	g_autofree char *number = g_strdup_printf("%d", lun);
	g_autofree char *block = g_strdup_printf("%d", block_bytes);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	require(fd >= 0 && ftruncate(fd, (off_t)size_bytes) == 0, path);
	close(fd);
	require(tgtadm("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", number, "-b",
		       path, "--bstype", "rdwr", "--blocksize", block, NULL),
		"tgtadm: new LUN");
	require(!thin || tgtadm("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun",
				number, "--params", "thin_provisioning=1", NULL),
		"tgtadm: thin_provisioning");
}

void iscsi_server_set_readonly(int lun)
{
	g_autofree char *number = g_strdup_printf("%d", lun);

	require(tgtadm("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", number,
		       "--params", "readonly=1", NULL),
		"tgtadm: readonly");
}

void iscsi_server_set(const char *name, const char *value)
{
	require(tgtadm("--op", "update", "--mode", "target", "--tid", "1", "--name", name,
		       "--value", value, NULL),
		name);
}

void iscsi_server_require_chap(const char *user, const char *password, const char *mutual_user,
			       const char *mutual_password)
{
	require(tgtadm("--op", "new", "--mode", "account", "--user", user, "--password", password,
		       NULL) &&
			tgtadm("--op", "bind", "--mode", "account", "--tid", "1", "--user", user,
			       NULL),
		"tgtadm: account");
	require(!mutual_user || (tgtadm("--op", "new", "--mode", "account", "--user", mutual_user,
					"--password", mutual_password, NULL) &&
				 tgtadm("--op", "bind", "--mode", "account", "--tid", "1", "--user",
					mutual_user, "--outgoing", NULL)),
		"tgtadm: outgoing account");
}
