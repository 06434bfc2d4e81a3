/*
 * blockmig: moves the disks of KVM guests between datastores.
 *
 * The table below names the subcommands; each is one file in blockmig/cmd.
 */
#include "blockmig/cmd/command.h"
#include "common/stop.h"

#include <locale.h>
#include <malloc.h>
#include <stdio.h>

enum { STATUS_USAGE = 2 };

static const struct command *const commands[] = {
	&command_plan,	   &command_migrate,	&command_copy,	 &command_verify,
	&command_status,   &command_resume,	&command_abort,	 &command_history,
	&command_evacuate, &command_datastores, &command_report, &command_gc,
	&command_guardian,
};

static const struct command *find_command(const char *name)
{
	for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
		if (g_str_equal(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static void print_help(FILE *file)
{
	fputs("Usage: blockmig COMMAND [ARGUMENT...]\n\n"
	      "Moves the disks of KVM guests between datastores (local, NFS, iSCSI), proves\n"
	      "what it copied, and carries on after any interruption.\n\n",
	      file);
	for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
		if (commands[i]->summary)
			fprintf(file, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nblockmig help COMMAND tells its options; blockmig --version the version.\n", file);
}

static int refuse(const char *name)
{
	fprintf(stderr, "blockmig: \"%s\" is no command; blockmig --help lists them\n", name);
	return STATUS_USAGE;
}

static int help(const char *name)
{
	const struct command *command = name ? find_command(name) : NULL;

	if (name && !command)
		return refuse(name);
	if (command)
		command_print_help(command, stdout);
	else
		print_help(stdout);
	return 0;
}

/*
 * libnfs allocates every request and answer anew.  Left to itself glibc maps each of
 * them, has its pages zeroed one fault at a time, and unmaps it: a fifth of a copy's CPU
 * time.  A thread's heap grows only to what it has in flight.
 */
static void keep_heap(void)
{
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	setlocale(LC_CTYPE, "");
	g_set_prgname("blockmig");
	if (!name) {
		print_help(stderr);
		return STATUS_USAGE;
	}
	if (g_str_equal(name, "--version") || g_str_equal(name, "version")) {
		puts("blockmig " VERSION);
		return 0;
	}
	if (g_str_equal(name, "--help") || g_str_equal(name, "-h") || g_str_equal(name, "help"))
		return help(argc > 2 ? argv[2] : NULL);

	const struct command *command = find_command(name);

	if (!command)
		return refuse(name);
	keep_heap();
	stop_install();
	return command_run(command, argc - 1, argv + 1, stdout, stderr);
}
