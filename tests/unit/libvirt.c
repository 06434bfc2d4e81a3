#include "tests/unit/libvirt.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char folder[] = "/var/lib/libvirt/images";
static const char pid_file[] = "/run/libvirtd.pid";

static void die(const char *what)
{
	fprintf(stderr, "private libvirt: %s: %s\n", what, g_strerror(errno));
	_exit(99);
}

static void write_file(const char *path, const char *text)
{
	if (!g_file_set_contents(path, text, -1, NULL))
		die(path);
}

/* ---- the namespaces ------------------------------------------------------------------ */

/* Adds a line for @name to a private copy of @path, where it has none. */
static void add_account(const char *path, const char *copy, const char *name, const char *line)
{
	g_autofree char *text = NULL, *start = g_strdup_printf("\n%s:", name);
	g_autofree char *longer = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		die(path);
	if (strstr(text, start))
		return;
	longer = g_strconcat(text, line, "\n", NULL);
	write_file(copy, longer);
	if (mount(copy, path, NULL, MS_BIND, NULL) < 0)
		die(path);
}

/*
 * Libvirt asks QEMU as root what it can do, and itself as QEMU's user; where only root
 * may use KVM the two never agree, and QEMU is asked again (6 s) before every guest.
 */
static void hide_kvm(void)
{
	static const char nothing[] = "/run/no-kvm";

	if (access("/dev/kvm", F_OK) < 0)
		return;
	write_file(nothing, "");
	if (chmod(nothing, 0) < 0 || mount(nothing, "/dev/kvm", NULL, MS_BIND, NULL) < 0)
		die("/dev/kvm");
}

static void enter_private_host(void)
{
	static const char *const folders[] = {"/run", "/etc/libvirt", "/var/lib/libvirt",
					      "/var/cache/libvirt", "/var/log/libvirt"};

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		die("unshare (it takes root)");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		die("mount /proc");
	for (guint i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_mkdir_with_parents(folders[i], 0755);
		if (mount("tmpfs", folders[i], "tmpfs", 0, "mode=0755") < 0)
			die(folders[i]);
	}
	g_mkdir_with_parents(folder, 0777);
	add_account("/etc/group", "/run/group", "libvirt-qemu", "libvirt-qemu:x:64055:");
	add_account("/etc/group", "/run/group2", "kvm", "kvm:x:106:");
	add_account("/etc/passwd", "/run/passwd", "libvirt-qemu",
		    "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin");
	hide_kvm();
	write_file("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n"
					     "namespaces = []\n"
					     "cgroup_controllers = []\n"
					     "remember_owner = 0\n");
	write_file("/etc/libvirt/libvirtd.conf", "auth_unix_rw = \"none\"\n"
						 "unix_sock_group = \"root\"\n");
}

/* The namespace's first process: reaps orphans until the tests have ended. */
static void reap(pid_t tests)
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

void libvirt_run(int (*tests)(void))
{
	pid_t first, child;
	int status = 0;

	if (unshare(CLONE_NEWPID) < 0)
		die("unshare (it takes root)");
	fflush(NULL);
	first = fork();
	if (first < 0)
		die("fork");
	if (first > 0) {
		while (waitpid(first, &status, 0) < 0 && errno == EINTR)
			;
		/* Not exit(): no process may be made any more, as a leak checker would. */
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_private_host();
	child = fork();
	if (child < 0)
		die("fork");
	if (child > 0)
		reap(child);
	libvirtd_start();
	exit(tests());
}

/* ---- the daemon ------------------------------------------------------------------------ */

/* FALSE where the command failed; its output is then on stderr unless @quietly. */
static gboolean run(const char *const *arguments, gboolean quietly)
{
	g_autofree char *output = NULL, *problem = NULL;
	g_autoptr(GError) error = NULL;
	int status;

	if (g_spawn_sync(NULL, (char **)arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output,
			 &problem, &status, &error) &&
	    g_spawn_check_wait_status(status, &error))
		return TRUE;
	if (!quietly)
		fprintf(stderr, "%s %s: %s %s\n", arguments[0], arguments[1], error->message,
			problem);
	return FALSE;
}

static pid_t daemon_pid(void)
{
	g_autofree char *text = NULL;

	if (!g_file_get_contents(pid_file, &text, NULL, NULL))
		return 0;
	return (pid_t)g_ascii_strtoll(text, NULL, 10);
}

void libvirtd_start(void)
{
	static const char *const arguments[] = {"libvirtd", "-d", NULL};

	if (!run(arguments, FALSE))
		die("libvirtd");
}

void libvirtd_kill(void)
{
	pid_t pid = daemon_pid();

	kill(pid, SIGKILL);
	/* Its parent is the namespace's first process, which reaps it. */
	while (kill(pid, 0) == 0)
		g_usleep(5000);
	unlink(pid_file);
}

void libvirtd_freeze(void)
{
	kill(daemon_pid(), SIGSTOP);
}

void libvirtd_thaw(void)
{
	kill(daemon_pid(), SIGCONT);
}

/* ---- guests -------------------------------------------------------------------------- */

void virsh(const char *argument, ...)
{
	const char *arguments[16] = {"virsh"};
	va_list list;

	va_start(list, argument);
	for (guint i = 1; argument && i < G_N_ELEMENTS(arguments) - 1; i++) {
		arguments[i] = argument;
		argument = va_arg(list, const char *);
	}
	va_end(list);
	if (!run(arguments, FALSE))
		abort();
}

const char *libvirt_folder(void)
{
	return folder;
}

char *libvirt_image(const char *name, const char *backing)
{
	char *path = g_strdup_printf("%s/%s", folder, name);
	const char *const alone[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, "64M", NULL};
	const char *const over[] = {"qemu-img", "create", "-q",	   "-f", "qcow2", "-F",
				    "qcow2",	"-b",	  backing, path, NULL};

	if (!run(backing ? over : alone, FALSE))
		abort();
	return path;
}

static void remove_guest(const char *name)
{
	const char *const destroy[] = {"virsh", "destroy", name, NULL};
	const char *const undefine[] = {"virsh", "undefine", "--managed-save", name, NULL};

	run(destroy, TRUE);
	run(undefine, TRUE);
}

char *libvirt_guest(const char *name, gboolean start)
{
	g_autofree char *image_name = g_strdup_printf("%s.qcow2", name);
	g_autofree char *image = g_strdup_printf("%s/%s", folder, image_name);
	g_autofree char *xml_path = g_strdup_printf("%s/%s.xml", folder, name);
	char *uuid = g_uuid_string_random();
	g_autofree char *xml = g_strdup_printf(
		"<domain type='qemu'><name>%s</name><uuid>%s</uuid>"
		"<memory unit='MiB'>16</memory>"
		"<os><type arch='x86_64' machine='pc'>hvm</type></os>"
		"<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
		"<source file='%s'/><target dev='vda' bus='virtio'/></disk>"
		"<controller type='usb' model='none'/><memballoon model='none'/>"
		"<video><model type='none'/></video></devices></domain>",
		name, uuid, image);

	remove_guest(name);
	g_free(libvirt_image(image_name, NULL));
	write_file(xml_path, xml);
	virsh("define", xml_path, NULL);
	if (start)
		virsh("start", name, NULL);
	return uuid;
}
